#!/usr/bin/python3
"""seeds.py TARGET DIRECTORY: writes what a fuzz target begins with: the strings of the tests that know its input, and
what is kept for it in corpus/. A test's new row is a new seed, without anybody's doing."""

import ast
import hashlib
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
POLICIES = [bytes([n]) for n in (0x00, 0x04, 0x05, 0x06, 0x07, 0x3F)]
BITS = [b"\x00", b"\x2a", b"\xff"]
PORTIONS = [b"\x01", b"\xff"]
LMDB_EDITS = [start + b"user%03d@example.com\n" % 33 + cut + page + offset
              for start in (b"\x00", b"\x01") for cut in (b"\x00", b"\x01")
              for page in (b"\x00", b"\x01", b"\x02", b"\x05") for offset in (b"\x00\x08\x04", b"\x00\x10\x10", b"\x0f\xd0\x20")]

# target: where its strings are, and what goes before each of them (the octets that choose how it is read)
TARGETS = {
    "action": (["src/access/access_test.c", "tests/e2e/test_access.py"], [b""]),
    "address": (["src/mail/address_test.c", "src/mail/address_list_test.c"], [b""]),
    "answers": (["src/table/answers_test.c"], [b"", b"200 ", b"8:OK "]),
    "checks": (["src/filter/checks_mime_test.c", "src/filter/checks_gmime_test.c",
                "src/filter/checks_content_type_test.c", "tests/e2e/test_checks.py"], PORTIONS),
    "command": (["src/smtp/command_test.c", "src/mail/address_test.c", "tests/e2e/test_smtp.py"], BITS),
    "config": (["src/config/config_test.c", "src/config/lines_test.c", "src/config/findings_test.c",
                "tests/e2e/test_config.py", "conf/main.cf"], [b""]),
    "db_common": (["src/table/db_common_test.c"], [b"joe@a.example.com\nbox@x.test\nquery = ",
                                                   b"joe@a.example.com\nbox@x.test\nquery = %s\nresult_format = ", b"joe\n\n"]),
    "decoder": (["src/smtp/decoder_test.c", "tests/e2e/test_smtp.py", "tests/e2e/test_proxy_content.py"], POLICIES),
    "delivery": (["src/spool/delivery_test.c", "src/mail/envelope_text_test.c"], [b""]),
    "envelope_text": (["src/mail/envelope_text_test.c"], [b""]),
    "dovecot_line": (["src/sasl/dovecot_line_test.c", "tests/fault/test_sasl_faults.py"], [b""]),
    "expand": (["src/config/expand_test.c", "src/config/config_test.c"], [b""]),
    "header": (["src/mail/header_test.c", "src/mail/address_list_test.c", "src/cleanup/intake_test.c"], PORTIONS),
    "list": (["src/access/access_test.c", "src/access/dns_list_test.c", "src/policy/policy_service_test.c"],
             [b"", b"check_sender_access ", b"check_policy_service ", b"reject_rbl_client ", b"warn_if_reject "]),
    "lmdb_file": (["src/table/lmdb_file_test.c"], LMDB_EDITS),
    "master_cf": (["src/config/master_cf_test.c", "src/config/findings_test.c", "tests/e2e/test_master.py",
                   "conf/master.cf"], [b""]),
    "name": (["src/dns/answer_test.c", "src/dns/hosts_test.c", "src/dns/resolver_test.c"], [b"", b"\x09"]),
    "policy_reply": (["src/policy/policy_reply_test.c", "tests/e2e/test_policy.py"], [b""]),
    "reply": (["src/smtp/reply_test.c", "src/smtp/client_test.c", "tests/e2e/test_proxy_failures.py"], [b""]),
    "session": (["src/smtp/session_test.c", "tests/e2e/test_smtp.py", "tests/e2e/test_smtp_sessions.py"], [b"\x0d"]),
    "spool": (["src/spool/spool_format_test.c", "src/spool/spool_test.c", "src/mail/envelope_text_test.c"],
              [bytes(7), b"\x01\x00\x10" + bytes(4), b"\x02\x00\x90\x01" + bytes(3), b"\x03\x00\x90" + bytes(4)]),
    "table": (["src/table/table_test.c", "src/table/match_test.c", "src/table/literals_test.c",
               "src/table/posix_test.c", "src/filter/checks_action_test.c"], [b"", b"key\n"]),
    "tls_options": (["src/net/tls_options_test.c"], [b""]),
    "tls_policy": (["src/smtp/tls_policy_test.c"], [b""]),
    "trace": (["src/cli/trace_line_test.c", "src/cli/trace_find_test.c"], [b""]),
    "upstream": (["src/smtp/upstream_test.c", "tests/e2e/test_upstream_proxy.py"], [b"\x00", b"\xfc"]),
    "xforward": (["src/smtp/xforward_test.c", "src/mail/xtext_test.c"], [b""]),
}
SEED_MAX = 4096  # octets: longer ones only make the fuzzer slow

C_STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*')
C_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
C_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]+|[0-7]{1,3}|.)", re.S)
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def unescape(match):
    what = match[1]
    if what[:1] == b"x" and len(what) > 1:
        return bytes([int(what[1:], 16) & 255])
    if what[:1] in b"01234567":
        return bytes([int(what, 8) & 255])
    return ESCAPES.get(what, what)


def strings(path):
    """Every string of a C or Python source; of anything else, all of it."""
    text = path.read_text()
    if path.suffix == ".c":
        for found in C_STRINGS.finditer(re.sub(r"(?m)^#include.*$", "", text)):
            # Each literal is unescaped by itself: "\x0a" "b" are two octets.
            yield b"".join(C_ESCAPE.sub(unescape, part.encode()) for part in C_STRING.findall(found[0]))
    elif path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
                yield node.value if isinstance(node.value, bytes) else node.value.encode()
    else:
        yield text.encode()


def main():
    target, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    sources, prefixes = TARGETS[target]
    directory.mkdir(parents=True, exist_ok=True)
    seeds = {prefix + text for source in sources for text in strings(ROOT / source) for prefix in prefixes}
    kept = HERE / "corpus" / target
    seeds.update(path.read_bytes() for path in kept.glob("*") if path.is_file())
    for seed in seeds:
        if len(seed) <= SEED_MAX:
            (directory / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main()
