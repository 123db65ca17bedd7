-- Fed to `postgres --single` once, right after initdb. One statement a line.
CREATE DATABASE projector;
