"""The command line, `projector`: composition roots, one per subcommand. Nothing below imports this package.

Results go to stdout, logs to stderr. Exit code 0: done; 1: found something wrong; 2: bad usage or setting;
3: a dependency could not be reached.
"""
