"""A gallery of pictures by path: a grid, thumbnails, a large preview.

How a thumbnail is made, from the screen to the disk:

    delegate, picture_label    paint a thumbnail: a cell of the grid, or one picture of a fixed size
    items, thumbnails          ask for it: each panel's own requests and size
    thumbnail_service          one for the whole window: two threads, a bounded memory, the latest request first
    thumbnail_files            the cache on disk
    pictures                   the only module that decodes a picture file; also reads the preview's whole picture
"""
