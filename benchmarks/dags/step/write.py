import json
import sys
from pathlib import Path

number, output, *previous = sys.argv[1:]
count = json.loads(Path(previous[0]).read_text())["number"] if previous else 0
Path(output).write_text(json.dumps({"number": int(number), "previous": count}))
