"""The kit for tests of systems that use the projector: services, fixtures, given/when/then, bad delivery, the truth.

A pytest plugin (`testkit.plugin`, found by itself once the package is installed) gives the fixtures. It starts real
services, the same that the project's own tests run on, and asks for none that no test uses.
"""
