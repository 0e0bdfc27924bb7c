"""A gallery of images by path: a grid, thumbnails, a large preview.

Modules that make a thumbnail, from the screen to the disk:

    delegate, image_label    paint a thumbnail: a cell of the grid, or one image of a fixed size
    items, thumbnails          request it: each panel's requests and size
    thumbnail_service          one for the whole window: two threads, bounded memory, latest request first
    thumbnail_files            the cache on disk
    images                   the only module that decodes an image file; also reads the preview's full image
"""
