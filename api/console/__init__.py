"""A page at `/` for people who run this: what waits, how old what readers see is, and what may be tried again.

Rendered here, whole without JavaScript; scripts only keep it current and draw. It shows no record's bytes, and changes
nothing but what `projector dead-letters retry` would.
"""
