"""The page that people use: plain modules, a style and one HTML file, served as they lie here.

Knows the relay by its doors alone, as any other client does. Holds no Python: the files beside this
one are what a browser is given.
"""
