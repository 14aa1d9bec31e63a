"""Moving files between this machine and servers: parallel, checked by digest, in bounded memory."""
