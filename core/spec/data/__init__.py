"""Files that go with data: the record of fixes."""
