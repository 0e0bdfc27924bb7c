"""What menus, shortcuts and the command palette do."""
