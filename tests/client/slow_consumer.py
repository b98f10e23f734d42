"""A consumer whose body takes its time and says what it does; to be killed by a test.

python slow_consumer.py URL CONSUMER SECONDS
"""

import sys
import time

from gate.client import FaceStream

url, consumer, seconds = sys.argv[1:]
for face in FaceStream(url, group="recognizers", consumer=consumer, from_start=True, block_s=0.05, claim_idle_s=0.5):
    print("begun", face.event.seq, flush=True)
    time.sleep(float(seconds))
    print("done", face.event.seq, flush=True)
