"""A DNS server that answers from a script: zones, delays, silence, errors, garbage, signatures. UDP and TCP."""
import base64
import heapq
import random
import socket
import struct
import subprocess
import tempfile
import threading
import time

TYPES = {'A': 1, 'NS': 2, 'CNAME': 5, 'SOA': 6, 'PTR': 12, 'MX': 15, 'TXT': 16, 'AAAA': 28, 'RRSIG': 46, 'DNSKEY': 48}
TTL = 60
NAMES = {number: name for name, number in TYPES.items()}
RCODES = {'FORMERR': 1, 'SERVFAIL': 2, 'NXDOMAIN': 3, 'NOTIMP': 4, 'REFUSED': 5}
UDP_MAX = 1232


def wire_name(name):
    """'' is the root. \\. is a dot inside a label."""
    labels = [label.replace('\0', '.') for label in name.replace('\\.', '\0').rstrip('.').split('.')] if name.strip('.') else []
    return b''.join(bytes([len(raw)]) + raw for raw in (label.encode('latin-1') for label in labels)) + b'\0'


def wire_data(kind, data):
    if kind == 'A':
        return socket.inet_aton(data)
    if kind == 'AAAA':
        return socket.inet_pton(socket.AF_INET6, data)
    if kind == 'MX':
        preference, name = data.split()
        return struct.pack('>H', int(preference)) + wire_name(name)
    if kind == 'TXT':  # strings between '|'
        return b''.join(bytes([len(text)]) + text.encode('latin-1') for text in data.split('|'))
    if kind == 'DNSKEY':
        flags, protocol, algorithm, key = data.split()
        return struct.pack('>HBB', int(flags), int(protocol), int(algorithm)) + base64.b64decode(key)
    return wire_name(data)


class Signer:
    """Signs what a zone says that is there (RFC 4034, RFC 8080), and nothing of what is not. anchor: its key, as a record.
    forge: names whose signatures are those of other records."""

    def __init__(self, zone, directory, forge=()):
        self.zone, self.forge = zone, forge
        self.key = f'{directory}/zone.key'
        subprocess.run(['openssl', 'genpkey', '-algorithm', 'ed25519', '-out', self.key], check=True)
        public = subprocess.run(['openssl', 'pkey', '-in', self.key, '-pubout', '-outform', 'DER'], check=True, capture_output=True).stdout[-32:]
        self.record = f'{zone} DNSKEY 257 3 15 {base64.b64encode(public).decode()}'
        self.anchor = self.record.replace(f'{zone} ', f'{zone}. IN ', 1) + '\n'
        key = wire_data('DNSKEY', self.record.partition('DNSKEY ')[2])
        total = sum(octet << (8 if at % 2 == 0 else 0) for at, octet in enumerate(key))
        self.tag = (total + (total >> 16)) & 0xffff

    def sign(self, name, number, data):
        """The data of the RRSIG record; None: another zone's."""
        if name != self.zone and not name.endswith('.' + self.zone):
            return None
        now = int(time.time())
        begin = struct.pack('>HBBIIIH', number, 15, name.count('.') + 1, TTL, now + 3600, now - 3600, self.tag) + wire_name(self.zone)
        if name in self.forge:
            data = [data[0] + b'x']
        signed = begin + b''.join(wire_name(name) + struct.pack('>HHIH', number, 1, TTL, len(octets)) + octets for octets in sorted(data))
        with tempfile.NamedTemporaryFile() as file:
            file.write(signed)
            file.flush()
            return begin + subprocess.run(['openssl', 'pkeyutl', '-sign', '-rawin', '-inkey', self.key, '-in', file.name], check=True,
                                          capture_output=True).stdout


def parse_zone(text):
    """Lines of `name [after=SECONDS] TYPE data`, or `name [after=SECONDS] WORD` instead of an answer to any type: an
    RCODE, DROP, GARBAGE (octets of no meaning), CUT (an answer that ends too early), LOOP (a name that points at itself); `name TYPE !WORD` for one type. A name may begin with '*.'. \\xNN in data."""
    zone = {}
    for line in text.splitlines():
        words = line.split(None, 1)
        if not words or words[0].startswith('#'):
            continue
        name, rest = words[0].rstrip('.').lower(), words[1]
        after = 0.0
        if rest.startswith('after='):
            seconds, _, rest = rest[6:].partition(' ')
            after = float(seconds)
        kind, _, data = rest.strip().partition(' ')
        data = data.strip().encode('latin-1').decode('unicode_escape') if '\\x' in data else data.strip()
        zone.setdefault(name, []).append((kind, data, after))
    return zone


class Dns:
    """with Dns(('127.0.0.1', port), zone) as dns: ...; dns.questions: [(name, type)] as they came."""

    def __init__(self, address, zone, inside=None, signer=None):
        self.zone = parse_zone(zone + ('\n' + signer.record if signer else ''))
        self._signer = signer
        self.questions = []
        self.address = address
        self._inside = inside
        self._lock = threading.Condition()
        self._later = []  # (time, number, send)
        self._number = 0
        self._stopped = False

    def __enter__(self):
        if self._inside:
            with self._inside():
                self._bind()
        else:
            self._bind()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._serve_udp, self._serve_tcp, self._serve_later)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        with self._lock:
            self._stopped = True
            self._lock.notify_all()
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        wake = socket.socket(socket.AF_INET, socket.SOCK_DGRAM) if not self._inside else None
        if wake:
            wake.sendto(b'', self.address)
            wake.close()
        for thread in self._threads:
            thread.join(2)
        self.udp.close()
        self.tcp.close()

    def _bind(self):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.udp.bind(self.address)
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(self.address)
        self.tcp.listen(50)

    def update(self, text):
        """Names in text get what it says, instead of what they had."""
        self.zone = {**self.zone, **parse_zone(text)}

    def asked(self, name, kind=None):
        return sum(1 for got, of in list(self.questions) if got == name and kind in (None, of))

    # --- answers ---

    def _find(self, name):
        if name in self.zone:
            return self.zone[name]
        rest = name
        while '.' in rest:
            rest = rest.partition('.')[2]
            if '*.' + rest in self.zone:
                return self.zone['*.' + rest]
            if rest in self.zone and not rest.startswith('*'):
                break
        return [] if any(other.endswith('.' + name) for other in self.zone) else None

    def answer(self, packet, most):
        """The reply to a packet, and the seconds to wait before; None: none."""
        if len(packet) < 17:
            return None, 0
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode('latin-1'))
            at += 1 + packet[at]
        name = '.'.join(labels).lower()
        number, = struct.unpack('>H', packet[at + 1:at + 3])
        kind = NAMES.get(number, str(number))
        self.questions.append((name, kind))
        question = packet[12:at + 5]
        records, owner, after, rcode = [], b'\xc0\x0c', 0, 0
        for _ in range(8):
            found = self._find(name)
            if found is None:
                rcode = 3
                break
            after = max([after] + [delay for of, _, delay in found if of == kind or of not in TYPES])
            word = next((data[1:] if data.startswith('!') else of for of, data, _ in found
                         if of not in TYPES or of == kind and data.startswith('!')), None)
            if word == 'DROP':
                return None, after
            if word == 'GARBAGE':
                return packet[:2] + bytes(random.Random(1).randrange(256) for _ in range(200)), after
            if word == 'LOOP':
                return packet[:2] + struct.pack('>HHHHH', 0x8180, 1, 1, 0, 0) + question + b'\xc0' + bytes([len(question) + 12]), after
            if word == 'CUT':
                records.append((owner, 1, b'\x7f\0'))
                break
            if word:
                rcode = RCODES[word]
                break
            alias = next((data for of, data, _ in found if of == 'CNAME'), None)
            if alias is not None and kind != 'CNAME':
                records.append((owner, TYPES['CNAME'], wire_name(alias)))
                name, owner = alias.rstrip('.').lower(), wire_name(alias)
                continue
            data = [wire_data(of, data) for of, data, _ in found if of == kind]
            records += [(owner, number, octets) for octets in data]
            signature = self._signer.sign(name, number, data) if self._signer and data else None
            if signature:
                records.append((owner, TYPES['RRSIG'], signature))
            break
        body = question
        for owner, of, data in records:
            body += owner + struct.pack('>HHIH', of, 1, TTL, len(data)) + data
        authority = 0
        if rcode in (0, 3) and (not records or records[-1][1] == TYPES['CNAME'] != number):
            authority = 1
            data = b'\0\0' + struct.pack('>IIIII', 1, 60, 60, 60, 5)
            body += b'\0' + struct.pack('>HHIH', TYPES['SOA'], 1, 5, len(data)) + data
        flags = 0x8180 | rcode
        if 12 + len(body) > most:
            flags, body, records, authority = flags | 0x200, question, [], 0
        return packet[:2] + struct.pack('>HHHHH', flags, 1, len(records), authority, 0) + body, after

    # --- the network ---

    def _send(self, reply, after, send):
        if reply is None:
            return
        if not after:
            send(reply)
            return
        with self._lock:
            self._number += 1
            heapq.heappush(self._later, (time.monotonic() + after, self._number, lambda: send(reply)))
            self._lock.notify_all()

    def _serve_later(self):
        with self._lock:
            while not self._stopped:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    try:
                        heapq.heappop(self._later)[2]()
                    except OSError:
                        pass
                self._lock.wait(max(0, self._later[0][0] - now) if self._later else None)

    def _serve_udp(self):
        while not self._stopped:
            try:
                packet, peer = self.udp.recvfrom(65535)
                if self._stopped:
                    return
                reply, after = self.answer(packet, UDP_MAX)
                self._send(reply, after, lambda data, peer=peer: self.udp.sendto(data, peer))
            except (OSError, IndexError):
                if self._stopped:
                    return

    def _serve_tcp(self):
        while not self._stopped:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection):
        with connection, connection.makefile('rb') as file:
            connection.settimeout(30)
            try:
                while not self._stopped:
                    size = file.read(2)
                    if len(size) < 2:
                        return
                    packet = file.read(struct.unpack('>H', size)[0])
                    reply, after = self.answer(packet, 65535)
                    time.sleep(after)
                    if reply is not None:
                        connection.sendall(struct.pack('>H', len(reply)) + reply)
            except (OSError, IndexError):
                return
