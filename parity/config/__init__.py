"""The configuration: every key with its type, default, limits and description, in one place.

    section.py    what all sections share: strict keys and types, text from the command line read as its type
    train.py      `train` and `groups` of a model
    model.py      `options`, `preprocess`; a model's file, and what a user may change of it
    data.py       `data` with its sources
    run.py        a resolved run, which run.yaml holds
    workflow.py   everything that config/config.yaml may hold
    layers.py     files are read and laid over each other
    models.py     a model's file, and one of its variants with every value
    resolve.py    a model in the workflow, with every value that its runs need
    ids.py        the names of datasets, weights, runs, alignments and measurements
    messages.py   one line for a wrong key or value
    schema.py     the JSON schemas in workflow/schemas, made from the types

To add a key, write one field in the class of its section: type, default, limits, description. A field that may be left
out and has no default has the type `X | None` and the default None. Then run

    python workflow/scripts/config_tables.py

which writes the tables of config/README.md and the schemas anew. A key of the top level is also named in one of that
page's comments `<!-- table: ... -->`, which say where its rows stand. Code reads a key as `run.train.epochs`. A key of
the workflow that runs also need goes into `ResolvedConfig` or `RunBase` (run.py) and is handed on in `resolve.resolve`.
Say in ids.py whether a result depends on it: all keys of the sections listed there count.
"""
