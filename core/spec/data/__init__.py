"""Files that accompany data: the record of fixes, and prompts."""
