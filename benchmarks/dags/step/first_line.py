import time

print("first line at", time.time(), flush=True)
