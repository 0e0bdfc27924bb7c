"""Communication with worker processes (``python -m core worker``), in four layers; panels use only the last one:

    replies   a line of a worker's output, checked          heartbeat   silence while an answer is awaited
    client    one process: started, asked, ended            pool        one client per model, few processes at a time
    verbs     what can be asked, with the answers' types     calls       requests by purpose, with typed callbacks

A panel makes ``calls = WorkerCalls(pool.client(model), self)`` and calls ``calls.ask(purpose, VERB, done, failed)``. A
newer request for the same purpose cancels the older one; each ends in ``done`` or ``failed``, or in neither after
``drop``. Answers contain a key that describes their subject; later requests pass this key, so that a restarted worker
can answer them too.
"""
