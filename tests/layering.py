#!/usr/bin/python3
"""Checks that the sources include in one direction: each folder of src/ only what stands above it in src/meson.build's
list, the stages nothing of each other. The program itself (src/cli) starts the stages and may include them all."""
import pathlib
import re
import sys

SRC = pathlib.Path(__file__).resolve().parent.parent / 'src'
STAGES = ('smtpd', 'filter', 'spawn', 'qmgr', 'delivery', 'master')


def main():
    order = re.findall(r"^subdir\('(\w+)'\)", (SRC / 'meson.build').read_text(), re.M)
    bad = [f'{folder.name} is not in src/meson.build' for folder in SRC.iterdir() if folder.is_dir() and folder.name not in order]
    for folder in order:
        below = order[order.index(folder) + 1:] + [stage for stage in STAGES if folder in STAGES and stage != folder]
        for file in sorted((SRC / folder).rglob('*.[ch]')):
            for number, line in enumerate(file.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if not match:
                    continue
                target = match[1].partition('/')[0]
                if '/' not in match[1]:
                    bad.append(f'{file}:{number}: {match[1]} is not written from src/')
                elif target in below:
                    bad.append(f'{file}:{number}: {folder} includes {match[1]}')
                elif target not in order:
                    bad.append(f'{file}:{number}: {match[1]} is in no folder')
    print('\n'.join(bad))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
