"""Code shared by the panels: their interface, services, pickers, forms and exports."""
