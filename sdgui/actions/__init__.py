"""The actions of menus, shortcuts and the command palette."""
