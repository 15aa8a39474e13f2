"""How content comes to web servers: a program that runs there over ssh, files brought beside what is served, and the
steps on disk that are whole or not at all."""
