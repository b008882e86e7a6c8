"""A page where one sees a ledger's jobs happen, each commit recomputed by the process that serves it; needs no key.

schema.py     what the API says, and its routes and events: to be read first
app.py        the routes; guard.py what keeps other pages of a browser, and other methods, away
server.py     all of it, running
ledger.py     the ledger, looked at by one thread for all browsers
job.py        one job: its follower, and what its views are made of
timeline.py   what became of a job's attempts, by its events
views.py      the same as the schema has it
verdicts.py   commits recomputed in the background; lies.py what a wrong one says and what it should say
receipts.py   what transactions cost, and how entries came in
events.py     what is told to browsers as it happens
static/       the page
"""
