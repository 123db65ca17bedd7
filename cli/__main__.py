"""`python -m cli`, for child processes that have no script on their path."""

from cli.main import main

if __name__ == "__main__":
    main()
