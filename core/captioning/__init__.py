"""A trained CoCa put to use: files and folders in, captions out, one picture after another.

Flow: paths -> ``pictures`` (what is a picture, read ahead) -> ``stream`` (batches, want of memory) on a ``model``
-> the verb ``caption``, or ``desk`` -> worker -> caption panel. ``core.caption_files`` writes what comes out.
"""
