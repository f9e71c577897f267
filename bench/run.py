#!/usr/bin/python3
"""Measures gatepost beside Debian's Postfix on this machine: see README.md in this directory."""
import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import checks
import instances
import measure
import refusals
import tls
from instances import HOST

CLIENTS = 50
OCTETS = 4096

# name, what it is, messages of one run. Postfix alone takes about 4 s for each at these numbers.
STAGES = [
    ('front', 'front to null filter', 3000),
    ('accept', 'after-filter accept, durable', 1500),
    ('path', 'whole path into Maildir', 800),
    ('tlspath', 'the same, TLS at the front', 800),
    ('kept', 'the same, our filter, kept', 800),
    ('checks', '1,000 header and body checks', 100),
    ('unknown', 'refused: unknown recipient', 3000),
    ('listed', 'refused: on a DNS list', 3000),
]
CHECKS_CLIENTS = 4  # the message is large

# What gatepost must reach beside Postfix (rate at least, processor time at most).
BOUNDS = {'front': (4.0, 0.36 / 1.7), 'path': (5.0, 0.25), 'tlspath': (4.0, 0.4), 'kept': (8.0, 1 / 7), 'unknown': (5.0, 0.2), 'listed': (5.0, 0.2)}


def send(port, messages, content):
    subprocess.run(['smtp-source', *content, '-m', str(messages), '-f', 'a@client.test', '-t', 'user@example.test',
                    f'{HOST}:{port}'], check=True, timeout=120, stdin=subprocess.DEVNULL)


def wait_until_delivered(system, messages):
    deadline = time.monotonic() + 120
    while system.delivered() < messages:
        if time.monotonic() > deadline:
            raise RuntimeError(f'{system.name}: {system.delivered()} of {messages} messages delivered after 120 s')
        time.sleep(0.01)


def run_once(system, stage, messages):
    """One run: messages per second, and milliseconds of processor time per message."""
    part = stage if stage in ('accept', 'checks') else 'all'
    port = getattr(system, stage)
    delivers = stage in ('path', 'tlspath', 'kept')
    if delivers:
        system.empty_maildir()
    cpu = measure.cpu_seconds(system.root_pid(part))
    start = time.monotonic()
    if stage in refusals.REPLIES:
        refusals.ask(port, stage, messages, CLIENTS)
    elif stage == 'tlspath':
        tls.ask(port, 'mail', messages, CLIENTS)
    else:
        send(port, messages, system.checks_content if stage == 'checks' else ['-s', str(CLIENTS), '-l', str(OCTETS)])
    if delivers:
        wait_until_delivered(system, messages)
    seconds = time.monotonic() - start
    time.sleep(0.2)  # the last sessions end, the last queue files go
    cpu = measure.cpu_seconds(system.root_pid(part)) - cpu
    return messages / seconds, cpu / messages * 1000


def measure_stage(systems, stage, messages, rounds):
    """{system name: [(rate, cpu), ...]}, the systems taking turns. The first run of each warms up and does not count."""
    results = {system.name: [] for system in systems}
    for system in systems:
        run_once(system, stage, max(10 if stage == 'checks' else CLIENTS * 2, messages // 10))
    for number in range(rounds):
        for system in systems if number % 2 == 0 else reversed(systems):
            results[system.name].append(run_once(system, stage, messages))
    return results


def idle_memory(system, port, sessions, client_side_kb):
    """kB per idle session: of the system's processes, and of the kernel for its side."""
    root = system.root_pid('all')
    warm_up = min(20, system.idle_sessions)
    try:
        sessions.open(HOST, port, warm_up)
        pss = measure.settled(lambda: measure.pss_kb(root), 100)
        kernel = measure.settled(measure.kernel_kb, 200)
        count = system.idle_sessions - warm_up
        sessions.open(HOST, port, count)
        pss = measure.settled(lambda: measure.pss_kb(root), 100) - pss
        kernel = measure.settled(measure.kernel_kb, 200) - kernel
        return pss / count, max(0.0, kernel / count - client_side_kb)
    finally:
        sessions.close()


def spread(values):
    """'MEDIAN (MIN to MAX)'"""
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f'{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})'


def ratios(results, index, other='postfix'):
    """gatepost over Postfix, round by round: both runs of a round had the same company on the machine."""
    return [g[index] / p[index] for g, p in zip(results['gatepost'], results[other]) if p[index] > 0]


def print_stage(name, title, results):
    for system, runs in results.items():
        print(f'{title:30} {system:9} {spread([r[0] for r in runs]):>26} {spread([r[1] for r in runs]):>26}')
    if 'gatepost' in results and 'nginx' in results:
        rate, cpu = ratios(results, 0, 'nginx'), ratios(results, 1, 'nginx')
        print(f'{"":30} {"to nginx":9} {spread(rate):>26} {spread(cpu):>26}   wanted: time below 1: '
              f'{"met" if statistics.median(cpu) < 1 else "NOT met"}')
    if 'gatepost' in results and 'postfix' in results:
        rate, cpu = ratios(results, 0), ratios(results, 1)
        print(f'{"":30} {"ratio":9} {spread(rate):>26} {spread(cpu):>26}', end='')
        if name in BOUNDS:
            need_rate, need_cpu = BOUNDS[name]
            met = statistics.median(rate) >= need_rate and statistics.median(cpu) <= need_cpu
            print(f'   wanted: rate {need_rate:.1f}, time {need_cpu:.2f}: {"met" if met else "NOT met"}', end='')
        print()
    sys.stdout.flush()


def print_megabytes(results, octets):
    for system, runs in results.items():
        print(f'{"":30} {system:9} {spread([r[0] * octets / 1e6 for r in runs]):>21} MB/s {spread([r[1] / octets * 1e6 for r in runs]):>20} ms/MB')


def print_memory(results):
    print(f'\n{"memory of one idle session":30} {"system":9} {"processes kB":>14} {"kernel kB":>12} {"together kB":>13}')
    for system, (pss, kernel, count) in results.items():
        print(f'{f"{count} sessions":30} {system:9} {pss:14.1f} {kernel:12.1f} {pss + kernel:13.1f}')
    if 'gatepost' in results:
        together = sum(results['gatepost'][:2])
        print(f'{"":30} {"":9} wanted of gatepost: 12 kB: {"met" if together <= 12 else "NOT met"}')


def print_waiting(results):
    for system, (idle, busy) in results.items():
        print(f'\n{"beside 500 that wait for DNS":30} {system:9} RCPT answered, 99th percentile: {idle:.2f} ms without them, {busy:.2f} ms with them'
              f'   wanted: within twice: {"met" if busy <= 2 * idle else "NOT met"}')


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('binary', nargs='?', help='the same as --gatepost')
    parser.add_argument('--gatepost', metavar='PATH', help='the program (build-release/gatepost, else build/gatepost)')
    parser.add_argument('--only', choices=['postfix', 'gatepost'])
    parser.add_argument('--quick', action='store_true', help='under a minute, for a first look: the spread is wide')
    parser.add_argument('--rounds', type=int, help='counted runs of each system and stage (5, quick: 2)')
    stages = ','.join(name for name, _, _ in STAGES) + ',memory,tlsmemory,handshake,waiting'
    parser.add_argument('--stages', default=stages, help='some of: ' + stages)
    parser.add_argument('--sessions', type=int, help='idle sessions with gatepost (2000, quick: 500)')
    parser.add_argument('--postfix-sessions', type=int, help='with Postfix, a process each (200, quick: 100)')
    parser.add_argument('--json', metavar='FILE', help='all figures of all runs')
    parser.add_argument('--keep', action='store_true', help='leave the temporary directory behind')
    args = parser.parse_args()
    args.stages = args.stages.split(',')
    args.gatepost = args.gatepost or args.binary
    top = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if not args.gatepost:
        found = [path for path in (f'{top}/build-release/gatepost', f'{top}/build/gatepost') if os.path.exists(path)]
        args.gatepost = found[0] if found else None
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.sessions = args.sessions or (500 if args.quick else 2000)
    args.postfix_sessions = args.postfix_sessions or (100 if args.quick else 200)
    return args


def make_systems(args, top):
    systems = []
    if args.only != 'gatepost':
        if os.getuid() != 0:
            sys.exit('run.py: Postfix needs root; --only gatepost does not')
        systems.append(instances.System('postfix', 'postfix', top, 23100, args.postfix_sessions))
    if args.only != 'postfix':
        if args.gatepost and os.access(args.gatepost, os.X_OK):
            systems.append(instances.System('gatepost', os.path.realpath(args.gatepost), top, 23130, args.sessions))
        elif args.gatepost or args.only:
            sys.exit(f'run.py: no program {args.gatepost or "build-release/gatepost"}')
        else:
            print('No gatepost is built: Postfix alone.')
    return systems


def make_nginx(args, top):
    """What only passes through, for the front stage."""
    if 'front' not in args.stages or os.getuid() != 0:
        return []
    if not shutil.which('nginx') or not os.path.exists('/usr/lib/nginx/modules/ngx_mail_module.so'):
        print("No row of nginx's mail proxy: Debian's libnginx-mod-mail is not installed.")
        return []
    return [instances.Nginx(top, 23120)]


def main():
    args = parse_arguments()
    for program in ('smtp-source', 'smtp-sink', 'haproxy'):
        if not shutil.which(program):
            sys.exit(f'run.py: {program} is missing (Debian: postfix, haproxy)')
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    refusals.enter_namespace()
    top = tempfile.mkdtemp(prefix='gatepost-bench.')
    os.chmod(top, 0o755)
    systems, passers, sink, figures = [], [], None, {}
    try:
        refusals.prepare(top)
        tls.prepare(top)
        sink = instances.start_sink()
        message, octets = checks.write(top)
        systems = make_systems(args, top)
        for system in systems:
            system.checks_content = ['-s', str(CHECKS_CLIENTS), '-F', message]
        passers = make_nginx(args, top)
        for system in systems + passers:
            system.start()
        print(f'{CLIENTS} clients, {OCTETS} octets, {args.rounds} runs in turn, {os.cpu_count()} processors; '
              'median (least to most)\n')
        print(f'{"":30} {"system":9} {"messages/s":>26} {"processor ms/message":>26}')
        for name, title, messages in STAGES:
            if name in args.stages:
                turns = systems + passers if name == 'front' else systems
                figures[name] = measure_stage(turns, name, messages // 5 if args.quick else messages, args.rounds)
                print_stage(name, title, figures[name])
                if name == 'checks':
                    print_megabytes(figures[name], octets)
        if 'memory' in args.stages:
            client_side_kb = measure.kernel_kb_of_client_side(1000)
            figures['memory'] = {s.name: (*idle_memory(s, s.idle, measure.IdleSessions(), client_side_kb), s.idle_sessions) for s in systems}
            print_memory(figures['memory'])
        if 'tlsmemory' in args.stages:
            client_side_kb = measure.kernel_kb_of_client_side(1000)
            figures['tlsmemory'] = {s.name: (*idle_memory(s, s.idletls, tls.IdleSessions(), client_side_kb), s.idle_sessions) for s in systems}
            tls.print_memory(figures['tlsmemory'])
        if 'handshake' in args.stages:
            count = tls.HANDSHAKES // 5 if args.quick else tls.HANDSHAKES
            figures['handshake'] = tls.handshakes(systems, top, 23160, args.rounds, count)
            tls.print_handshakes(figures['handshake'], spread)
        if 'waiting' in args.stages:
            figures['waiting'] = {s.name: refusals.beside_waiting(s.waiting) for s in systems if s.ours}
            print_waiting(figures['waiting'])
    except (RuntimeError, subprocess.SubprocessError) as why:
        print(f'run.py: {why}', file=sys.stderr)
        for system in systems + passers:
            sys.stderr.write(system.log_tail())
        sys.exit(1)
    finally:
        for system in systems + passers:
            system.stop()
        if sink:
            instances.end(sink)
        if args.keep:
            print(f'left behind: {top}')
        else:
            shutil.rmtree(top, ignore_errors=True)
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(figures, f, indent=1)


if __name__ == '__main__':
    main()
