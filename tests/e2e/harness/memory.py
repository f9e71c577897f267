"""What processes of a mail system hold in memory."""
import os

MAPPING_MAX = 1 << 32  # octets; larger ones are a sanitizer's notes about all memory


def processes(mta):
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/stat') as file:
                parent = int(file.read().rpartition(')')[2].split()[1])
        except OSError:
            continue
        if parent == mta.master_pid():
            yield int(pid)


def held(pid, wanted):
    """Those of the texts that the process holds in memory that it can write to."""
    found = set()
    with open(f'/proc/{pid}/maps') as maps, open(f'/proc/{pid}/mem', 'rb', 0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            start, end = (int(octets, 16) for octets in place.split('-'))
            if not rights.startswith('rw') or end - start > MAPPING_MAX:
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, OverflowError):
                continue
            found |= {text for text in wanted if text in content}
    return found
