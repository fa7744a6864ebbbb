"""Readers of what strangers write, each as a function of some bytes: for a fuzzer, and for what it has found.

    targets     the table: a name, a function, and the beginnings that a fuzzer goes on from
    documents   batches, recipes, single values, places    keys      what stands below a job's place
    wire        answers of S3, of AWS, of the metadata     archives  tar.gz
    drawing     what is shown: terminal, HTML, shell       __main__  the fuzzer (atheris) over all of them

A target returns for anything that its reader accepts or refuses as its docstring promises, and lets everything else
out: an exception that is not promised, or an AssertionError where what was read breaks a promise.
"""
