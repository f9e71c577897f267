"""Patterns and a message for the checks row: 1,000 patterns for headers and as many for bodies, and 50 kB of text that none of them matches."""
import os
import random

PATTERNS = 1000
LINES = 700
SYLLABLES = ('ka', 'ro', 'mi', 'ten', 'lu', 'sha', 'per', 'no', 'vi', 'da', 'gon', 'el', 'stra', 'be', 'qui')


def word(dice):
    return ''.join(dice.choice(SYLLABLES) for _ in range(dice.randint(2, 4)))


def body_pattern(dice, number):
    """What people collect: words, phrases, hosts, file names; one in ten has no fixed string that it must match."""
    first, second = word(dice), word(dice)
    return (f'/\\b{first}x{second}\\b/', f'/{first} +{second}z/', f'/https?:\\/\\/[a-z.]*{first}{number}\\.example/', f'/{first}.*{second}.*!!/',
            f'/name="?[^"]*{first}\\.(exe|scr|pif)/', f'/^{first} {second} {number}$/', f'/dear ({first}|{second})q/', f'/<a href=[^>]*{first}{number}/',
            f'/(buy|sell|get) [a-z]* ?{first}{second}/', f'/({first}x|{second}x|{number}x)/')[number % 10]


def write(top):
    """Makes header_checks, body_checks and message in top; the message's path and size."""
    dice = random.Random(1)
    body = [body_pattern(dice, number) for number in range(PATTERNS)]
    header = [f'/^(Subject|From|X-[A-Z][a-z]+): .*{pattern[1:].lstrip("^")}' for pattern in body]
    for name, patterns in (('header_checks', header), ('body_checks', body)):
        with open(os.path.join(top, name), 'w') as f:
            f.writelines(f'{pattern} REJECT\n' for pattern in patterns)
        os.chmod(f.name, 0o644)
    lines = ['From: a@client.test', 'To: user@example.test', 'Subject: ' + word(dice), *(f'X-Header{i}: {word(dice)}' for i in range(20)), '']
    for _ in range(LINES):
        line = ''
        while len(line) < 64:
            line += word(dice) + ' '
        lines.append(line)
    path = os.path.join(top, 'message')
    with open(path, 'w') as f:
        f.writelines(line + '\n' for line in lines)
    os.chmod(path, 0o644)
    return path, os.path.getsize(path)
