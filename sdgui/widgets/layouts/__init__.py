"""Where widgets lie: in lines as words do, over the edge of a panel."""
