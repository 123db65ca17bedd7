"""Read models made anew beside the live ones, proved equal (or different where that is meant), and swapped in.

`shadow` makes tables, `bulk` fills them, `catch_up` brings them to where live work stands, `compare` holds both sides
against each other, `swap` exchanges them; `run` is the six steps in order, and goes on where another run was killed.
"""
