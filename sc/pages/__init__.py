"""The page of `sc report`.

facts      what is told, as data          timeline   machines x slots over time
markup     text into HTML, escaped        histogram  how long runs took
compact    all runs in few bytes          script     the search over them
style      how it looks                   report     all of it, one text
"""
