"""Restrictions that ask DNS: what each replies and logs; lists that block and allow; DNS that is slow, broken or hostile."""
import contextlib
import os
import threading
import time

import pytest
from harness.client import Client
from harness.dns import Dns, Signer
from harness.instance import MASTER
from harness.namespace import Namespace

STRANGER = 'NAME=spike.up.test REVERSE_NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'

ZONE = r'''
ok.test MX 10 mx.ok.test
ok.test NS ns.ok.test
mx.ok.test A 192.0.2.50
mx.ok.test AAAA 2001:db8::50
ns.ok.test A 192.0.2.53
a.test A 192.0.2.51
six.test AAAA 2001:db8::51
nodata.test TXT x
null.test MX 0 .
null5.test MX 5 .
badmx.test MX 10 -bad-
nummx.test MX 10 192.0.2.9
mixed.test MX 0 .
mixed.test MX 10 mx.ok.test
gonemx.test MX 10 mx.gone.test
flakymx.test MX 10 flaky.test
flaky.test SERVFAIL
flakya.test A !SERVFAIL
flakyboth.test MX !SERVFAIL
flakyboth.test A 192.0.2.52
formerr.test FORMERR
refused.test REFUSED
notimp.test NOTIMP
cut.test CUT
garbage.test GARBAGE
alias.test CNAME ok.test
ring.test CNAME ring2.test
ring2.test CNAME ring.test
par.test NS ns.par.test
ns.par.test A 192.0.2.54
sub.par.test A 192.0.2.55
nons.test A 192.0.2.56
nsflaky.test NS flaky.test
nsflaky.test A 192.0.2.57
nsdead.test NS !SERVFAIL
nsdead.test A 192.0.2.57
deep.a.b.par.test A 192.0.2.58
66.2.0.192.bl.test A 127.0.0.2
66.2.0.192.bl.test TXT listed; see http://bl.test/?66
66.2.0.192.bl2.test A 127.0.0.4
66.2.0.192.bl2.test A 127.0.0.9
66.2.0.192.bl3.test A 127.0.0.2
66.2.0.192.bl3.test TXT one|two
66.2.0.192.bl3.test TXT three
66.2.0.192.bl4.test A 127.0.0.2
66.2.0.192.bl4.test TXT ctl\x01\xe4"$%{x}
66.2.0.192.flakybl.test SERVFAIL
66.2.0.192.txtflaky.test A 127.0.0.2
66.2.0.192.txtflaky.test TXT !SERVFAIL
66.2.0.192.odd.test A 10.1.2.3
66.2.0.192.cnbl.test CNAME 66.2.0.192.bl.test
ok.test.rh.test A 127.0.0.2
ok.test.rh.test TXT bad domain
spike.up.test.rh.test A 127.0.0.3
client.example.rh.test A 127.0.0.4
virt.test.rh.test A 127.0.0.5
rev.up.test.rh.test A 127.0.0.6
flaky.rh.test SERVFAIL
ok.test.rhflaky.test SERVFAIL
spike.up.test.rhflaky.test SERVFAIL
backup.test MX 10 prim.backup.test
backup.test MX 20 mx.gate.test
prim.backup.test A 192.0.2.77
mx.gate.test A 192.0.2.1
primary.test MX 10 mx.gate.test
primary.test MX 20 prim.backup.test
notus.test MX 10 prim.backup.test
flakyprim.test MX 10 flaky.test
flakyprim.test MX 20 mx.gate.test
'''

# name: settings (of smtpd_recipient_restrictions unless they begin with a parameter), the session (client: XCLIENT; sender, rcpt, helo;
# source: the client's real address; data: goes on to DATA), reply ('ok' for 250 2.1.5), lines of the log besides the reject itself
CASES = {
    'sd_ok': ('reject_unknown_sender_domain', dict(sender='a@ok.test'), 'ok'),
    'sd_a': ('reject_unknown_sender_domain', dict(sender='a@a.test'), 'ok'),
    'sd_six': ('reject_unknown_sender_domain', dict(sender='a@six.test'), 'ok'),
    'sd_nodata': ('reject_unknown_sender_domain', dict(sender='a@nodata.test'), '450 4.1.8 <a@nodata.test>: Sender address rejected: Domain not found'),
    'sd_gone': ('reject_unknown_sender_domain', dict(sender='a@gone.test'), '450 4.1.8 <a@gone.test>: Sender address rejected: Domain not found'),
    'sd_null': ('reject_unknown_sender_domain', dict(sender='a@null.test'), '550 5.7.27 <a@null.test>: Sender address rejected: Domain null.test does not accept mail (nullMX)'),
    'sd_null5': ('reject_unknown_sender_domain', dict(sender='a@null5.test'), '550 5.7.27 <a@null5.test>: Sender address rejected: Domain null5.test does not accept mail (nullMX)'),
    'sd_badmx': ('reject_unknown_sender_domain', dict(sender='a@badmx.test'), '450 4.1.8 <a@badmx.test>: Sender address rejected: Malformed DNS server reply'),
    'sd_nummx': ('reject_unknown_sender_domain', dict(sender='a@nummx.test'), 'ok'),
    'sd_mixed': ('reject_unknown_sender_domain', dict(sender='a@mixed.test'), '550 5.7.27 <a@mixed.test>: Sender address rejected: Domain mixed.test does not accept mail (nullMX)'),
    'sd_gonemx': ('reject_unknown_sender_domain', dict(sender='a@gonemx.test'), 'ok'),
    'sd_flaky': ('reject_unknown_sender_domain', dict(sender='a@flaky.test'), '450 4.1.8 <a@flaky.test>: Sender address rejected: Domain not found'),
    'sd_flakya': ('reject_unknown_sender_domain', dict(sender='a@flakya.test'), '450 4.1.8 <a@flakya.test>: Sender address rejected: Domain not found'),
    'sd_flakyboth': ('reject_unknown_sender_domain', dict(sender='a@flakyboth.test'), 'ok'),
    'sd_formerr': ('reject_unknown_sender_domain', dict(sender='a@formerr.test'), '450 4.1.8 <a@formerr.test>: Sender address rejected: Domain not found'),
    'sd_refused': ('reject_unknown_sender_domain', dict(sender='a@refused.test'), '450 4.1.8 <a@refused.test>: Sender address rejected: Domain not found'),
    'sd_notimp': ('reject_unknown_sender_domain', dict(sender='a@notimp.test'), '450 4.1.8 <a@notimp.test>: Sender address rejected: Domain not found'),
    'sd_cut': ('reject_unknown_sender_domain', dict(sender='a@cut.test'), '450 4.1.8 <a@cut.test>: Sender address rejected: Domain not found'),
    'sd_garbage': ('reject_unknown_sender_domain', dict(sender='a@garbage.test'), '450 4.1.8 <a@garbage.test>: Sender address rejected: Domain not found'),
    'sd_alias': ('reject_unknown_sender_domain', dict(sender='a@alias.test'), 'ok'),
    'sd_ring': ('reject_unknown_sender_domain', dict(sender='a@ring.test'), '450 4.1.8 <a@ring.test>: Sender address rejected: Domain not found'),
    'sd_lit': ('reject_unknown_sender_domain', dict(sender='a@[192.0.2.1]'), 'ok'),
    'sd_none': ('reject_unknown_sender_domain', dict(sender=''), 'ok'),
    'sd_local': ('reject_unknown_sender_domain', dict(sender='joe'), 'ok'),
    'sd_virt': ('reject_unknown_sender_domain', dict(sender='joe@virt.test'), 'ok'),
    'sd_sub': ('reject_unknown_sender_domain', dict(sender='joe@x.virt.test'), '450 4.1.8 <joe@x.virt.test>: Sender address rejected: Domain not found'),
    'sd_gate': ('reject_unknown_sender_domain', dict(sender='joe@mx.gate.test'), 'ok'),
    'sd_rel': ('reject_unknown_sender_domain', dict(sender='joe@rel.test'), '450 4.1.8 <joe@rel.test>: Sender address rejected: Domain not found'),
    'sd_code': ('reject_unknown_sender_domain; unknown_address_reject_code = 550', dict(sender='joe@gone.test'), '550 5.1.8 <joe@gone.test>: Sender address rejected: Domain not found'),
    'sd_codef': ('reject_unknown_sender_domain; unknown_address_reject_code = 550', dict(sender='joe@flaky.test'), '450 4.1.8 <joe@flaky.test>: Sender address rejected: Domain not found'),
    'sd_codem': ('reject_unknown_sender_domain; unknown_address_reject_code = 550', dict(sender='joe@badmx.test'), '550 5.1.8 <joe@badmx.test>: Sender address rejected: Malformed DNS server reply'),
    'sd_tf': ('reject_unknown_sender_domain, reject; unknown_address_tempfail_action = defer', dict(sender='joe@flaky.test'), '450 4.1.8 <joe@flaky.test>: Sender address rejected: Domain not found'),
    'sd_dip': ('reject_unknown_sender_domain, reject', dict(sender='joe@flaky.test'), '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'sd_warn': ('warn_if_reject reject_unknown_sender_domain', dict(sender='joe@flaky.test'), 'ok',
        'reject_warning: RCPT from spike.up.test[192.0.2.66]: 450 4.1.8 <joe@flaky.test>: Sender address rejected: Domain not found; from=<joe@flaky.test> to=<alice@virt.test> proto=ESMTP helo=<client.example>'),
    'sd_warnn': ('warn_if_reject reject_unknown_sender_domain', dict(sender='joe@null.test'), 'ok',
        'reject_warning: RCPT from spike.up.test[192.0.2.66]: 550 5.7.27 <joe@null.test>: Sender address rejected: Domain null.test does not accept mail (nullMX); from=<joe@null.test> to=<alice@virt.test> proto=ESMTP helo=<client.example>'),
    'rd_gone': ('reject_unknown_recipient_domain; mynetworks=192.0.2.66', dict(rcpt='joe@gone.test'), '450 4.1.2 <joe@gone.test>: Recipient address rejected: Domain not found'),
    'rd_null': ('reject_unknown_recipient_domain; mynetworks=192.0.2.66', dict(rcpt='joe@null.test'), '556 5.1.10 <joe@null.test>: Recipient address rejected: Domain null.test does not accept mail (nullMX)'),
    'rd_flaky': ('reject_unknown_recipient_domain; mynetworks=192.0.2.66', dict(rcpt='joe@flaky.test'), '450 4.1.2 <joe@flaky.test>: Recipient address rejected: Domain not found'),
    'rd_badmx': ('reject_unknown_recipient_domain; mynetworks=192.0.2.66', dict(rcpt='joe@badmx.test'), '450 4.1.2 <joe@badmx.test>: Recipient address rejected: Malformed DNS server reply'),
    'rd_rel': ('reject_unknown_recipient_domain; mynetworks=192.0.2.66', dict(rcpt='joe@rel.test'), '450 4.1.2 <joe@rel.test>: Recipient address rejected: Domain not found'),
    'rd_virt': ('reject_unknown_recipient_domain; mynetworks=192.0.2.66', dict(rcpt='alice@virt.test'), 'ok'),
    'he_0': ('reject_unknown_helo_hostname', dict(helo='mx.ok.test'), 'ok'),
    'he_1': ('reject_unknown_helo_hostname', dict(helo='ok.test'), 'ok'),
    'he_3': ('reject_unknown_helo_hostname', dict(helo='nodata.test'), '450 4.7.1 <nodata.test>: Helo command rejected: Host not found'),
    'he_4': ('reject_unknown_helo_hostname', dict(helo='gone.test'), '450 4.7.1 <gone.test>: Helo command rejected: Host not found'),
    'he_5': ('reject_unknown_helo_hostname', dict(helo='flaky.test'), '450 4.7.1 <flaky.test>: Helo command rejected: Host not found'),
    'he_7': ('reject_unknown_helo_hostname', dict(helo='flakyboth.test'), 'ok'),
    'he_8': ('reject_unknown_helo_hostname', dict(helo='null.test'), 'ok'),
    'he_9': ('reject_unknown_helo_hostname', dict(helo='badmx.test'), '450 4.7.1 <badmx.test>: Helo command rejected: Malformed DNS server reply'),
    'he_10': ('reject_unknown_helo_hostname', dict(helo='formerr.test'), '450 4.7.1 <formerr.test>: Helo command rejected: Host not found'),
    'he_11': ('reject_unknown_helo_hostname', dict(helo='[192.0.2.1]'), 'ok'),
    'he_12': ('reject_unknown_helo_hostname', dict(helo='[192.0.2.x]'), '501 5.5.2 <[192.0.2.x]>: Helo command rejected: invalid ip address'),
    'he_13': ('reject_unknown_helo_hostname', dict(helo='192.0.2.1'), '450 4.7.1 <192.0.2.1>: Helo command rejected: Host not found'),
    'he_14': ('reject_unknown_helo_hostname', dict(helo='bad..name'), '450 4.7.1 <bad..name>: Helo command rejected: Host not found'),
    'he_15': ('reject_unknown_helo_hostname', dict(helo='-bad-'), '450 4.7.1 <-bad->: Helo command rejected: Host not found'),
    'he_16': ('reject_unknown_helo_hostname', dict(helo='und_er.test'), '450 4.7.1 <und_er.test>: Helo command rejected: Host not found'),
    'he_17': ('reject_unknown_helo_hostname', dict(helo='ok.test.'), '450 4.7.1 <ok.test.>: Helo command rejected: Host not found'),
    'he_18': ('reject_unknown_helo_hostname', dict(helo='alias.test'), 'ok'),
    'he_19': ('reject_unknown_helo_hostname', dict(helo='ring.test'), '450 4.7.1 <ring.test>: Helo command rejected: Host not found'),
    'he_20': ('reject_unknown_helo_hostname', dict(helo='garbage.test'), '450 4.7.1 <garbage.test>: Helo command rejected: Host not found'),
    'he_code': ('reject_unknown_helo_hostname; unknown_hostname_reject_code = 550', dict(helo='gone.test'), '550 5.7.1 <gone.test>: Helo command rejected: Host not found'),
    'he_codef': ('reject_unknown_helo_hostname; unknown_hostname_reject_code = 550', dict(helo='flaky.test'), '450 4.7.1 <flaky.test>: Helo command rejected: Host not found'),
    'he_tf': ('reject_unknown_helo_hostname, reject; reject_tempfail_action = defer', dict(helo='flaky.test'), '450 4.7.1 <flaky.test>: Helo command rejected: Host not found'),
    'he_dip': ('reject_unknown_helo_hostname, reject', dict(helo='flaky.test'), '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'smx': ('check_sender_mx_access inline:{mx.ok.test=REJECT}', {}, '554 5.7.1 <a@ok.test>: Sender address rejected: Access denied'),
    'smxaddr': ('check_sender_mx_access inline:{192.0.2.50=REJECT}', {}, '554 5.7.1 <a@ok.test>: Sender address rejected: Access denied'),
    'smxaddr6': ('check_sender_mx_access inline:{2001:db8::50=REJECT}', {}, '554 5.7.1 <a@ok.test>: Sender address rejected: Access denied'),
    'smxpar': ('check_sender_mx_access inline:{ok.test=REJECT}', {}, '554 5.7.1 <a@ok.test>: Sender address rejected: Access denied'),
    'smxok': ('check_sender_mx_access inline:{mx.ok.test=OK}', {}, '451 4.3.5 Server configuration error',
        'warning: restriction check_sender_mx_access returns OK for a@ok.test',
        'warning: this is not allowed for security reasons',
        'warning: use DUNNO instead of OK if you want to make an exception'),
    'smxdunno': ('check_sender_mx_access inline:{{mx.ok.test=DUNNO}, {192.0.2.50=REJECT}}', {}, 'ok'),
    'smxa': ('check_sender_mx_access inline:{192.0.2.51=REJECT}', dict(sender='x@a.test'), '554 5.7.1 <x@a.test>: Sender address rejected: Access denied'),
    'smxaname': ('check_sender_mx_access inline:{a.test=REJECT}', dict(sender='x@a.test'), '554 5.7.1 <x@a.test>: Sender address rejected: Access denied'),
    'smxgone': ('check_sender_mx_access inline:{gone.test=REJECT}', dict(sender='x@gone.test'), '554 5.7.1 <x@gone.test>: Sender address rejected: Access denied'),
    'smxnodata': ('check_sender_mx_access inline:{nodata.test=REJECT}', dict(sender='x@nodata.test'), '554 5.7.1 <x@nodata.test>: Sender address rejected: Access denied'),
    'smxflaky': ('check_sender_mx_access inline:{flaky.test=REJECT}', dict(sender='x@flaky.test'), 'ok',
        'warning: Unable to look up MX host for flaky.test: Host not found, try again'),
    'smxgonemx': ('check_sender_mx_access inline:{mx.gone.test=REJECT}', dict(sender='x@gonemx.test'), '554 5.7.1 <x@gonemx.test>: Sender address rejected: Access denied'),
    'smxgonemx2': ('check_sender_mx_access inline:{zzz=REJECT}', dict(sender='x@gonemx.test'), 'ok',
        'warning: Unable to look up MX host mx.gone.test for Sender address x@gonemx.test: Name or service not known'),
    'smxflakymx': ('check_sender_mx_access inline:{zzz=REJECT}', dict(sender='x@flakymx.test'), 'ok',
        'warning: Unable to look up MX host flaky.test for Sender address x@flakymx.test: Temporary failure in name resolution'),
    'smxnull': ('check_sender_mx_access inline:{null.test=REJECT}', dict(sender='x@null.test'), 'ok'),
    'smxnull2': ('check_sender_mx_access inline:{zzz=REJECT}', dict(sender='x@null.test'), 'ok'),
    'smxlit': ('check_sender_mx_access inline:{192.0.2.1=REJECT}', dict(sender='x@[192.0.2.1]'), '554 5.7.1 <x@[192.0.2.1]>: Sender address rejected: Access denied'),
    'smxlitns': ('check_sender_ns_access inline:{192.0.2.1=REJECT}', dict(sender='x@[192.0.2.1]'), 'ok'),
    'smxlita': ('check_sender_a_access inline:{192.0.2.1=REJECT}', dict(sender='x@[192.0.2.1]'), '554 5.7.1 <x@[192.0.2.1]>: Sender address rejected: Access denied'),
    'smxempty': ('check_sender_mx_access inline:{zzz=REJECT}', dict(sender=''), 'ok'),
    'smxlocal': ('check_sender_mx_access inline:{{mx.gate.test=REJECT}, {gate.test=REJECT}}', dict(sender='joe'), 'ok',
        'warning: Unable to look up MX host joe for Sender address joe: Name or service not known'),
    'smxtext': ('check_sender_mx_access inline:{{mx.ok.test=450 4.1.7 bad mx}}', {}, '450 4.1.7 <a@ok.test>: Sender address rejected: bad mx'),
    'smxlist': ('check_sender_mx_access inline:{{mx.ok.test=reject_unauth_destination, defer}}', {}, '450 4.3.2 <a@ok.test>: Sender address rejected: Try again later'),
    'smxpermit': ('check_sender_mx_access inline:{{mx.ok.test=permit}}', {}, '451 4.3.5 Server configuration error',
        'warning: restriction check_sender_mx_access returns OK for a@ok.test',
        'warning: this is not allowed for security reasons',
        'warning: use DUNNO instead of OK if you want to make an exception'),
    'smxfail': ('check_sender_mx_access fail:x', {}, '451 4.3.5 <a@ok.test>: Sender address rejected: Server configuration error',
        'warning: fail:x lookup error for "mx.ok.test"'),
    'smxpcre': ('check_sender_mx_access pcre:{{/^mx\\.ok/ REJECT pcre}}', {}, '554 5.7.1 <a@ok.test>: Sender address rejected: pcre'),
    'smxcidr': ('check_sender_mx_access cidr:{{192.0.2.0/26 REJECT cidr}}', {}, '554 5.7.1 <a@ok.test>: Sender address rejected: cidr'),
    'sns': ('check_sender_ns_access inline:{ns.ok.test=REJECT}', {}, '554 5.7.1 <a@ok.test>: Sender address rejected: Access denied'),
    'snsaddr': ('check_sender_ns_access inline:{192.0.2.53=REJECT}', {}, '554 5.7.1 <a@ok.test>: Sender address rejected: Access denied'),
    'snspar': ('check_sender_ns_access inline:{ns.par.test=REJECT}', dict(sender='x@sub.par.test'), '554 5.7.1 <x@sub.par.test>: Sender address rejected: Access denied'),
    'snsdeep': ('check_sender_ns_access inline:{ns.par.test=REJECT}', dict(sender='x@deep.a.b.par.test'), '554 5.7.1 <x@deep.a.b.par.test>: Sender address rejected: Access denied'),
    'snsgone': ('check_sender_ns_access inline:{ns.par.test=REJECT}', dict(sender='x@gone.par.test'), '554 5.7.1 <x@gone.par.test>: Sender address rejected: Access denied'),
    'snsnone': ('check_sender_ns_access inline:{zzz=REJECT}', dict(sender='x@nons.test'), 'ok',
        'warning: Unable to look up NS host for x@nons.test: Host found but no data record of requested type'),
    'snsflaky': ('check_sender_ns_access inline:{zzz=REJECT}', dict(sender='x@nsflaky.test'), 'ok',
        'warning: Unable to look up NS host flaky.test for Sender address x@nsflaky.test: Temporary failure in name resolution'),
    'snsdead': ('check_sender_ns_access inline:{zzz=REJECT}', dict(sender='x@nsdead.test'), 'ok',
        'warning: Unable to look up NS host for nsdead.test: Host not found, try again'),
    'sa': ('check_sender_a_access inline:{192.0.2.51=REJECT}', dict(sender='x@a.test'), '554 5.7.1 <x@a.test>: Sender address rejected: Access denied'),
    'saname': ('check_sender_a_access inline:{a.test=REJECT}', dict(sender='x@a.test'), 'ok'),
    'sasix': ('check_sender_a_access inline:{2001:db8::51=REJECT}', dict(sender='x@six.test'), '554 5.7.1 <x@six.test>: Sender address rejected: Access denied'),
    'sagone': ('check_sender_a_access inline:{gone.test=REJECT}', dict(sender='x@gone.test'), 'ok'),
    'saflaky': ('check_sender_a_access inline:{zzz=REJECT}', dict(sender='x@flaky.test'), 'ok'),
    'saok': ('check_sender_a_access inline:{192.0.2.51=OK}', dict(sender='x@a.test'), '451 4.3.5 Server configuration error',
        'warning: restriction check_sender_a_access returns OK for x@a.test',
        'warning: this is not allowed for security reasons',
        'warning: use DUNNO instead of OK if you want to make an exception'),
    'rmx': ('check_recipient_mx_access inline:{virt.test=REJECT}', {}, '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'rmxg': ('check_recipient_mx_access inline:{mx.ok.test=REJECT}', dict(rcpt='x@ok.test', client='NAME=spike.up.test ADDR=127.0.0.1 REVERSE_NAME=spike.up.test'), '554 5.7.1 <x@ok.test>: Recipient address rejected: Access denied'),
    'rns': ('check_recipient_ns_access inline:{ns.ok.test=REJECT}', dict(rcpt='x@ok.test', client='NAME=spike.up.test ADDR=127.0.0.1 REVERSE_NAME=spike.up.test'), '554 5.7.1 <x@ok.test>: Recipient address rejected: Access denied'),
    'ra': ('check_recipient_a_access inline:{192.0.2.51=REJECT}', dict(rcpt='x@a.test', client='NAME=spike.up.test ADDR=127.0.0.1 REVERSE_NAME=spike.up.test'), '554 5.7.1 <x@a.test>: Recipient address rejected: Access denied'),
    'hmx': ('check_helo_mx_access inline:{mx.ok.test=REJECT}', dict(helo='ok.test'), '554 5.7.1 <ok.test>: Helo command rejected: Access denied'),
    'hns': ('check_helo_ns_access inline:{ns.ok.test=REJECT}', dict(helo='ok.test'), '554 5.7.1 <ok.test>: Helo command rejected: Access denied'),
    'ha': ('check_helo_a_access inline:{192.0.2.51=REJECT}', dict(helo='a.test'), '554 5.7.1 <a.test>: Helo command rejected: Access denied'),
    'halit': ('check_helo_a_access inline:{192.0.2.51=REJECT}', dict(helo='[192.0.2.51]'), '554 5.7.1 <[192.0.2.51]>: Helo command rejected: Access denied'),
    'hanum': ('check_helo_a_access inline:{192.0.2.51=REJECT}', dict(helo='192.0.2.51'), '554 5.7.1 <192.0.2.51>: Helo command rejected: Access denied'),
    'hadot': ('check_helo_a_access inline:{192.0.2.51=REJECT}', dict(helo='a.test.'), '554 5.7.1 <a.test.>: Helo command rejected: Access denied'),
    'habad': ('check_helo_a_access inline:{192.0.2.51=REJECT}', dict(helo='bad..x'), 'ok'),
    'cmx': ('check_client_mx_access inline:{mx.ok.test=REJECT}', dict(client='NAME=ok.test REVERSE_NAME=a.test'), '554 5.7.1 <ok.test[192.0.2.66]>: Client host rejected: Access denied'),
    'cns': ('check_client_ns_access inline:{ns.ok.test=REJECT}', dict(client='NAME=ok.test REVERSE_NAME=a.test'), '554 5.7.1 <ok.test[192.0.2.66]>: Client host rejected: Access denied'),
    'ca': ('check_client_a_access inline:{192.0.2.51=REJECT}', dict(client='NAME=a.test REVERSE_NAME=ok.test'), '554 5.7.1 <a.test[192.0.2.66]>: Client host rejected: Access denied'),
    'cunk': ('check_client_a_access inline:{192.0.2.51=REJECT}', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=a.test'), 'ok'),
    'cmxunk': ('check_client_mx_access inline:{unknown=REJECT}', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=a.test'), 'ok'),
    'cvmx': ('check_reverse_client_hostname_mx_access inline:{mx.ok.test=REJECT}', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=ok.test'), '554 5.7.1 <ok.test>: Unverified Client host rejected: Access denied'),
    'cvns': ('check_reverse_client_hostname_ns_access inline:{ns.ok.test=REJECT}', dict(client='NAME=a.test REVERSE_NAME=ok.test'), '554 5.7.1 <ok.test>: Unverified Client host rejected: Access denied'),
    'cva': ('check_reverse_client_hostname_a_access inline:{192.0.2.51=REJECT}', dict(client='NAME=ok.test REVERSE_NAME=a.test'), '554 5.7.1 <a.test>: Unverified Client host rejected: Access denied'),
    'cvaunk': ('check_reverse_client_hostname_a_access inline:{unknown=REJECT}', dict(client='NAME=ok.test REVERSE_NAME=[UNAVAILABLE]'), 'ok'),
    'rev': ('check_reverse_client_hostname_access inline:{a.test=REJECT}', dict(client='NAME=ok.test REVERSE_NAME=x.a.test'), '554 5.7.1 <x.a.test>: Unverified Client host rejected: Access denied'),
    'revaddr': ('check_reverse_client_hostname_access inline:{192.0.2=REJECT}', dict(client='NAME=ok.test REVERSE_NAME=x.a.test'), '554 5.7.1 <x.a.test>: Unverified Client host rejected: Access denied'),
    'revok': ('check_reverse_client_hostname_access inline:{a.test=OK}', dict(client='NAME=ok.test REVERSE_NAME=a.test'), '451 4.3.5 Server configuration error',
        'warning: restriction check_reverse_client_hostname_access returns OK for a.test',
        'warning: this is not allowed for security reasons',
        'warning: use DUNNO instead of OK if you want to make an exception'),
    'revunk': ('check_reverse_client_hostname_access inline:{unknown=REJECT}', dict(client='NAME=ok.test REVERSE_NAME=[UNAVAILABLE]'), '554 5.7.1 <unknown>: Unverified Client host rejected: Access denied'),
    'uc_unk': ('reject_unknown_client_hostname', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=a.test'), '450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.66]'),
    'uc_tmp': ('reject_unknown_client_hostname; unknown_client_reject_code=550', dict(client='NAME=[TEMPUNAVAIL] REVERSE_NAME=a.test'), '450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.66]'),
    'uc_code': ('reject_unknown_client_hostname; unknown_client_reject_code=550', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=a.test'), '550 5.7.25 Client host rejected: cannot find your hostname, [192.0.2.66]'),
    'uc_ok': ('reject_unknown_client_hostname; unknown_client_reject_code=550', {}, 'ok'),
    'uv_unk': ('reject_unknown_reverse_client_hostname; unknown_client_reject_code=550', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=[UNAVAILABLE]'), '550 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.66]'),
    'uv_tmp': ('reject_unknown_reverse_client_hostname; unknown_client_reject_code=550', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=[TEMPUNAVAIL]'), '450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.66]'),
    'uv_ok': ('reject_unknown_reverse_client_hostname', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=a.test'), 'ok'),
    'uv_imp': ('reject_unknown_reverse_client_hostname', dict(client='NAME=a.test'), 'ok'),
    'uc_off': ('reject_unknown_client_hostname; smtpd_peername_lookup=no; unknown_client_reject_code=550', dict(source='192.0.2.10'), '550 5.7.25 Client host rejected: cannot find your hostname, [192.0.2.10]'),
    'uv_off': ('reject_unknown_reverse_client_hostname; smtpd_peername_lookup=no; unknown_client_reject_code=550', dict(source='192.0.2.10'), '550 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.10]'),
    'rbl': ('reject_rbl_client bl.test', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'rbldot': ('reject_rbl_client bl.test.', {}, 'ok'),
    'rblno': ('reject_rbl_client none.test', {}, 'ok'),
    'rblpat': ('reject_rbl_client bl.test=127.0.0.2', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'rblpatno': ('reject_rbl_client bl.test=127.0.0.3', {}, 'ok'),
    'rblpat2': ('reject_rbl_client bl2.test=127.0.0.[5..9]', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl2.test'),
    'rblpat3': ('reject_rbl_client bl2.test=127.0.0.[1;4]', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl2.test'),
    'rblbaddom': ('reject_rbl_client -bad..name', {}, 'ok'),
    'rblmiss': ('reject_rbl_client', {}, 'ok',
        'warning: restriction reject_rbl_client requires domain name argument'),
    'rblctl': ('reject_rbl_client bl4.test', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl4.test; ctl  "$%{x}'),
    'rblflaky': ('reject_rbl_client flakybl.test', {}, 'ok',
        'warning: 66.2.0.192.flakybl.test: RBL lookup error: Host or domain name not found. Name service error for name=66.2.0.192.flakybl.test type=A: Host not found, try again'),
    'rbltxtflaky': ('reject_rbl_client txtflaky.test', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using txtflaky.test'),
    'rblodd': ('reject_rbl_client odd.test', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using odd.test'),
    'rblcn': ('reject_rbl_client cnbl.test', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using cnbl.test; listed; see http://bl.test/?66'),
    'rblcode': ('reject_rbl_client bl.test; maps_rbl_reject_code=450', {}, '450 4.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'rblwarn': ('warn_if_reject reject_rbl_client bl.test', {}, 'ok',
        'reject_warning: RCPT from spike.up.test[192.0.2.66]: 554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66; from=<a@ok.test> to=<alice@virt.test> proto=ESMTP helo=<client.example>'),
    'rblclient': ('smtpd_client_restrictions = reject_rbl_client bl.test', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'rblold': ('reject_rbl bl.test', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'rblmaps': ('reject_rbl_client bl.test; rbl_reply_maps=texthash:{dir}/rbl1', {}, '554 5.7.8 Go Client host [192.0.2.66] bl.test; listed; see http://bl.test/?66'),
    'rblmaps2': ('reject_rbl_client bl.test=127.0.0.2; rbl_reply_maps=texthash:{dir}/rbl1', {}, '521 5.7.1 pat bl.test'),
    'rblmapsf': ('reject_rbl_client bl.test; rbl_reply_maps=fail:x', {}, '451 4.3.5 Server configuration error',
        'warning: fail:x lookup error for "bl.test"'),
    'rblfilter': ('reject_rbl_client bl.test; smtpd_expansion_filter=abcdefghijklmnopqrstuvwxyz', {}, '450 4.7.1 Service unavailable',
        'warning: rbl response code configuration error: ___ Service unavailable; _lient_host [__________] blocked using bl_test; listed__see_http___bl_test____'),
    'rblbadtpl': ('reject_rbl_client bl.test; default_rbl_reply=nonsense', {}, '450 4.7.1 Service unavailable',
        'warning: rbl response code configuration error: nonsense'),
    'rblbadtpl3': ('reject_rbl_client bl.test; default_rbl_reply=250 ok', {}, '450 4.7.1 Service unavailable',
        'warning: rbl response code configuration error: 250 ok'),
    'rblbadtpl4': ('reject_rbl_client bl.test; default_rbl_reply=450 4.1.1 ok', {}, '450 4.0.0 ok'),
    'rblbadtpl5': ('reject_rbl_client bl.test; default_rbl_reply=521 4.1.1 ok', {}, '521 5.0.0 ok'),
    'rhs': ('reject_rhsbl_sender rh.test', {}, '554 5.7.1 Service unavailable; Sender address [a@ok.test] blocked using rh.test; bad domain'),
    'rhslocal': ('reject_rhsbl_sender rh.test', dict(sender='joe'), 'ok'),
    'rhsnull': ('reject_rhsbl_sender rh.test', dict(sender=''), 'ok'),
    'rhslit': ('reject_rhsbl_sender rh.test', dict(sender='x@[192.0.2.1]'), 'ok'),
    'rhc': ('reject_rhsbl_client rh.test', {}, '554 5.7.1 Service unavailable; Client host [spike.up.test] blocked using rh.test'),
    'rhv': ('reject_rhsbl_reverse_client rh.test', dict(client='NAME=ok.test REVERSE_NAME=rev.up.test'), '554 5.7.1 Service unavailable; Unverified Client host [rev.up.test] blocked using rh.test'),
    'rhh': ('reject_rhsbl_helo rh.test', {}, '554 5.7.1 Service unavailable; Helo command [client.example] blocked using rh.test'),
    'rhhdot': ('reject_rhsbl_helo rh.test', dict(helo='client.example.'), 'ok'),
    'rhr': ('reject_rhsbl_recipient rh.test', {}, '554 5.7.1 Service unavailable; Recipient address [alice@virt.test] blocked using rh.test'),
    'rhpat': ('reject_rhsbl_recipient rh.test=127.0.0.[5;6]', {}, '554 5.7.1 Service unavailable; Recipient address [alice@virt.test] blocked using rh.test'),
    'rhflaky': ('reject_rhsbl_sender rhflaky.test', {}, 'ok',
        'warning: ok.test.rhflaky.test: RBL lookup error: Host or domain name not found. Name service error for name=ok.test.rhflaky.test type=A: Host not found, try again'),
    'rhnum': ('reject_rhsbl_helo rh.test', dict(helo='1.2.3.4'), 'ok'),
    'wl': ('permit_dnswl_client bl.test, reject', {}, 'ok'),
    'wlno': ('permit_dnswl_client none.test, reject', {}, '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'wlpat': ('permit_dnswl_client bl.test=127.0.0.3, reject', {}, '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'wlflaky': ('permit_dnswl_client flakybl.test, reject', {}, '450 4.7.1 <192.0.2.66>: Client host rejected: Service unavailable',
        'warning: 66.2.0.192.flakybl.test: RBL lookup error: Host or domain name not found. Name service error for name=66.2.0.192.flakybl.test type=A: Host not found, try again'),
    'wlflaky2': ('permit_dnswl_client flakybl.test', {}, 'ok',
        'warning: 66.2.0.192.flakybl.test: RBL lookup error: Host or domain name not found. Name service error for name=66.2.0.192.flakybl.test type=A: Host not found, try again'),
    'wlunauth': ('smtpd_relay_restrictions=permit_dnswl_client bl.test,reject_unauth_destination', dict(rcpt='x@else.test'), '554 5.7.1 <x@else.test>: Relay access denied'),
    'wlunauth2': ('smtpd_relay_restrictions=; smtpd_recipient_restrictions=permit_dnswl_client bl.test,reject_unauth_destination', dict(rcpt='x@else.test'), '554 5.7.1 <x@else.test>: Relay access denied'),
    'wlclient': ('smtpd_client_restrictions=permit_dnswl_client bl.test,reject', dict(rcpt='x@else.test'), '554 5.7.1 <spike.up.test[192.0.2.66]>: Client host rejected: Access denied'),
    'wlclient2': ('smtpd_client_restrictions=permit_dnswl_client bl.test,reject', {}, 'ok'),
    'rwl': ('permit_rhswl_client rh.test, reject', {}, 'ok'),
    'rwlunk': ('permit_rhswl_client rh.test, reject', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=rev.up.test'), '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'rwltmp': ('permit_rhswl_client rh.test, reject', dict(client='NAME=[TEMPUNAVAIL] REVERSE_NAME=rev.up.test'), '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'rwlflaky': ('permit_rhswl_client rhflaky.test, reject', {}, '450 4.7.1 <spike.up.test>: Client host rejected: Service unavailable',
        'warning: spike.up.test.rhflaky.test: RBL lookup error: Host or domain name not found. Name service error for name=spike.up.test.rhflaky.test type=A: Host not found, try again'),
    'rblun': ('reject_rhsbl_client rh.test', dict(client='NAME=[UNAVAILABLE] REVERSE_NAME=rev.up.test'), 'ok'),
    'mxb': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination; permit_mx_backup_networks=192.0.2.0/24', dict(rcpt='x@backup.test'), 'ok'),
    'mxbprim': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='x@primary.test'), '554 5.7.1 <x@primary.test>: Relay access denied'),
    'mxbno': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='x@notus.test'), '554 5.7.1 <x@notus.test>: Relay access denied'),
    'mxbnet': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination; permit_mx_backup_networks=192.0.2.77', dict(rcpt='x@backup.test'), 'ok'),
    'mxbnetno': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination; permit_mx_backup_networks=10.0.0.0/8', dict(rcpt='x@backup.test'), '554 5.7.1 <x@backup.test>: Relay access denied'),
    'mxbempty': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='x@backup.test'), 'ok'),
    'mxbflaky': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='x@flaky.test'), '450 4.4.4 <x@flaky.test>: Recipient address rejected: Unable to look up mail exchanger information: Host not found, try again'),
    'mxbflakyp': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination; permit_mx_backup_networks=192.0.2.0/24', dict(rcpt='x@flakyprim.test'), '450 4.4.4 <x@flakyprim.test>: Recipient address rejected: Unable to look up mail exchanger host flaky.test: Temporary failure in name resolution'),
    'mxbgone': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='x@gone.test'), '554 5.7.1 <x@gone.test>: Relay access denied'),
    'mxba': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='x@a.test'), '554 5.7.1 <x@a.test>: Relay access denied'),
    'mxblit': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='x@[192.0.2.1]'), '550 5.1.1 <x@[192.0.2.1]>: Recipient address rejected: User unknown in local recipient table'),
    'mxblit2': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='x@[192.0.2.9]'), '554 5.7.1 <x@[192.0.2.9]>: Relay access denied'),
    'mxbvirt': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination', dict(rcpt='alice@virt.test'), 'ok'),
    'mxbroute': ('smtpd_relay_restrictions=permit_mx_backup,reject_unauth_destination; permit_mx_backup_networks=192.0.2.0/24', dict(rcpt='x%else.test@backup.test'), '554 5.7.1 <x%else.test@backup.test>: Relay access denied'),
    'v1': ('reject_rbl_client bl.test; default_rbl_reply=$rbl_code c=$client a=$client_address n=$client_name p=$client_port r=$reverse_client_name h=$helo_name s=$sender sn=$sender_name sd=$sender_domain', dict(sender='"a b"@ok.test', rcpt='alice@virt.test'), '554 5.7.1 c=spike.up.test[192.0.2.66] a=192.0.2.66 n=spike.up.test p=4711 r=spike.up.test h=client.example s=a b@ok.test sn=a b sd=ok.test'),
    'v7': ('reject_rbl_client bl.test; rbl_reply_maps=texthash:{dir}/rbl2', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66',
        'warning: unknown macro name "undefined" in expansion request'),
    'v8': ('reject_rbl_client bl2.test; rbl_reply_maps=texthash:{dir}/rbl2', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl2.test',
        'warning: truncated macro reference: "${rbl_code"'),
    'v12': ('smtpd_data_restrictions=reject_rbl_client bl.test', dict(data=1), '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'v13': ('smtpd_data_restrictions=reject_unknown_sender_domain', dict(data=1, sender='x@gone.test'), '450 4.1.8 <x@gone.test>: Sender address rejected: Domain not found'),
    'v15': ('check_sender_access inline:{{gone.test=reject_unknown_sender_domain}}', dict(sender='x@gone.test'), '450 4.1.8 <x@gone.test>: Sender address rejected: Domain not found'),
    'v16': ('check_sender_access inline:{{gone.test=reject_rbl_client bl.test}}', dict(sender='x@gone.test'), '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'v19': ('reject_rbl_client bl.test', dict(client='NAME=x.test ADDR=IPV6:2001:db8::66 REVERSE_NAME=x.test'), 'ok'),
    'v20': ('reject_rbl_client bl.test', dict(client='NAME=x.test ADDR=IPV6:::ffff:192.0.2.66 REVERSE_NAME=x.test'), '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'v21': ('check_client_a_access inline:{127.0.0.1=REJECT}', dict(client='NAME=localhost REVERSE_NAME=x.test'), '554 5.7.1 <localhost[192.0.2.66]>: Client host rejected: Access denied'),
    'v22': ('check_client_mx_access inline:{127.0.0.1=REJECT}', dict(client='NAME=localhost REVERSE_NAME=x.test'), '554 5.7.1 <localhost[192.0.2.66]>: Client host rejected: Access denied'),
    'v23': ('check_helo_mx_access inline:{192.0.2.51=REJECT}', dict(helo='192.0.2.51'), '554 5.7.1 <192.0.2.51>: Helo command rejected: Access denied'),
    'v24': ('check_helo_ns_access inline:{192.0.2.51=REJECT}', dict(helo='192.0.2.51'), 'ok',
        'warning: Unable to look up NS host for 192.0.2.51: Host not found'),
    'v25': ('check_helo_a_access inline:{2001:db8::51=REJECT}', dict(helo='[IPv6:2001:db8::51]'), '554 5.7.1 <[IPv6:2001:db8::51]>: Helo command rejected: Access denied'),
    'v27': ('check_recipient_mx_access inline:{mx.ok.test=REJECT}; mynetworks=192.0.2.0/24', dict(rcpt='x%ok.test@mx.gate.test'), 'ok'),
    'v29': ('reject_unknown_recipient_domain; mynetworks=192.0.2.0/24', dict(rcpt='x%gone.test@mx.gate.test'), '450 4.1.2 <x%gone.test@mx.gate.test>: Recipient address rejected: Domain not found'),
    'v30': ('reject_unknown_sender_domain; mynetworks=192.0.2.0/24', dict(sender='x%gone.test@mx.gate.test'), '450 4.1.8 <x%gone.test@mx.gate.test>: Sender address rejected: Domain not found'),
    'v31': ('reject_unknown_address; mynetworks=192.0.2.0/24', dict(sender='x@gone.test'), '450 4.1.8 <x@gone.test>: Sender address rejected: Domain not found'),
    'v32': ('reject_unknown_hostname; mynetworks=192.0.2.0/24', dict(helo='gone.test'), '450 4.7.1 <gone.test>: Helo command rejected: Host not found'),
    'v33': ('reject_unknown_client; mynetworks=192.0.2.0/24', dict(client='NAME=[UNAVAILABLE]'), '450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.66]'),
    'v34': ('reject_rhsbl_sender rh.test; default_rbl_reply=$rbl_code w=$rbl_what d=$rbl_domain c=$rbl_class', {}, '554 5.7.1 w=a@ok.test d=rh.test c=Sender address'),
    'v35': ('reject_rbl_client bl.test=127.0.0.[1..9]; default_rbl_reply=$rbl_code w=$rbl_what d=$rbl_domain c=$rbl_class', {}, '554 5.7.1 w=192.0.2.66 d=bl.test c=Client host'),
    'v36': ('check_sender_mx_access, reject', {}, '451 4.3.5 Server configuration error',
        'warning: restriction check_sender_mx_access: bad argument "reject": need maptype:mapname'),
    'v41': ('reject_rbl_client bl.test=127.0.0.2 ,defer', {}, '554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.test; listed; see http://bl.test/?66'),
    'v42': ('smtpd_relay_restrictions=permit_mx_backup,defer; permit_mx_backup_networks=192.0.2.0/24', dict(rcpt='x@flakyprim.test'), '450 4.3.2 <x@flakyprim.test>: Recipient address rejected: Try again later'),
    'v43': ('smtpd_relay_restrictions=permit_mx_backup; smtpd_recipient_restrictions=reject_unauth_destination', dict(rcpt='x@flaky.test'), '450 4.4.4 <x@flaky.test>: Recipient address rejected: Unable to look up mail exchanger information: Host not found, try again'),
    'v45': ('warn_if_reject check_sender_mx_access inline:{mx.ok.test=OK}', {}, '451 4.3.5 Server configuration error',
        'warning: restriction check_sender_mx_access returns OK for a@ok.test',
        'warning: this is not allowed for security reasons',
        'warning: use DUNNO instead of OK if you want to make an exception'),
}

MAIN = 'inet_interfaces = all\nrelay_domains = rel.test\nrelay_recipient_maps =\n'
FILES = {'rbl1': 'bl.test $rbl_code 5.7.8 Go $rbl_class [$rbl_what] $rbl_domain${rbl_reason?; $rbl_reason}\nbl.test=127.0.0.2 521 pat $rbl_domain\n',
         'rbl2': 'bl.test $undefined x\nbl2.test ${rbl_code\n'}
NAMESPACE = ('echo "127.0.0.1 localhost" > /etc/hosts; printf "nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n" > /etc/resolv.conf; '
             'echo "hosts: files dns" > /etc/nsswitch.conf; for n in 1 10 66; do ip addr add 192.0.2.$n/24 dev lo; done')
SHARES = 4  # instances, of some forty servers each


def settings_of(name):
    """The settings of a case, as -o takes them."""
    first, *rest = CASES[name][0].split('; ')
    word = first.split('=')[0].split()[0]
    if word.startswith(('reject_', 'permit_', 'check_', 'warn_')) or not first.partition('=')[1]:
        first = 'smtpd_recipient_restrictions=' + first
    return tuple(tuple(part.strip() for part in setting.split('=', 1)) for setting in [first, *rest])


KINDS = list(dict.fromkeys(settings_of(name) for name in CASES))  # cases with the same settings share a server
PLACE = {kind: i * SHARES // len(KINDS) for i, kind in enumerate(KINDS)}


def service(kind):
    return f's{KINDS.index(kind)}'


@contextlib.contextmanager
def network():
    """A network of its own, where a server of names of ours is the system's."""
    with Namespace(more=NAMESPACE) as namespace, Dns(('127.0.0.1', 53), ZONE, inside=namespace.inside) as dns:
        namespace.dns = dns
        yield namespace


class Servers:
    """The instances, one at a time: the next one begins when the last one is not wanted any more."""

    def __init__(self, sut):
        self.sut = sut
        self.place = None
        self.stack = contextlib.ExitStack()

    def at(self, place):
        if place != self.place:
            self.stack.close()
            self.place, self.mta = None, self.stack.enter_context(self.start(place))
            self.place = place
        return self.mta

    @contextlib.contextmanager
    def start(self, place):
        master = ''
        for kind in KINDS:
            if PLACE[kind] == place:
                master += f'127.0.0.1:{{{service(kind)}}} inet n - n - - smtpd\n'
                master += ''.join(f'  -o {{ {name} = {value} }}\n' for name, value in kind)
        with network() as namespace:
            mta = self.sut(MAIN, master=master, base=MASTER)
            mta.prefix = namespace.prefix
            for name, text in FILES.items():
                with open(f'{mta.dir}/{name}', 'w') as file:
                    file.write(text)
            mta.namespace = namespace
            with mta:
                yield mta


@pytest.fixture(scope='module')
def servers(sut):
    if os.geteuid() != 0:
        pytest.skip('namespaces need root')
    servers = Servers(sut)
    with servers.stack:
        yield servers


def connect(mta, name, source=None):
    with mta.namespace.inside():
        return Client(('127.0.0.1', mta.port(name)), source)


@pytest.mark.parametrize('name', sorted(CASES, key=lambda name: PLACE[settings_of(name)]))
def test_case(servers, name):
    mta = servers.at(PLACE[settings_of(name)])
    _, session, wanted, *lines = CASES[name]
    address = '192.0.2.66'
    sender, rcpt, helo = session.get('sender', 'a@ok.test'), session.get('rcpt', 'alice@virt.test'), session.get('helo', 'client.example')
    mark = mta.log.mark()
    with connect(mta, service(settings_of(name)), session.get('source')) as client:
        client.expect(220)
        if 'source' not in session:
            who = session.get('client', STRANGER)
            client.cmd('XCLIENT ' + (who if 'ADDR=' in who else who + ' ADDR=' + address), 220)
        if helo:
            client.cmd('EHLO ' + helo, 250)
        client.cmd(f'MAIL FROM:<{sender}>', 250)
        reply = client.cmd(f'RCPT TO:<{rcpt}>')
        if 'data' in session:
            assert reply == '250 2.1.5 Ok'
            reply = client.cmd('DATA')
    assert reply == ('250 2.1.5 Ok' if wanted == 'ok' else wanted)
    command = 'DATA' if 'data' in session else 'RCPT'
    if wanted != 'ok':
        tail = f'; from=<{sender}> to=<{rcpt}> proto={"ESMTP" if helo else "SMTP"}' + (f' helo=<{helo}>' if helo else '')
        if '"' in sender or 'client' in session or 'source' in session:
            return
        mta.log.wait(rf'(NOQUEUE|\w+): reject: {command} from spike\.up\.test\[192\.0\.2\.66\]: .*', mark)
        assert any(text.endswith(f'spike.up.test[192.0.2.66]: {wanted}{tail}') for text in mta.log.texts(mark)), mta.log.texts(mark)
    for line in lines:
        mta.log.wait_text(line if line.startswith('warning: ') else 'NOQUEUE: ' + line, mark)


# --- slow, broken, hostile ---

FAULTS = '''
2.0.0.127.good.test A 127.0.0.2
2.0.0.127.good.test TXT listed
2.0.0.127.late.test after=5 A 127.0.0.2
2.0.0.127.late.test TXT late
*.slow.test after=5 A 127.0.0.2
*.dead.test DROP
2.0.0.127.noise.test GARBAGE
2.0.0.127.cut.test CUT
2.0.0.127.broken.test SERVFAIL
ok.test MX 10 mx.ok.test
many.test NS ns.many.test
signed.test MX 10 mx.ok.test
signed.test A 192.0.2.1
signed.test AAAA 2001:db8::1
forged.signed.test MX 10 mx.ok.test
forged.signed.test A 192.0.2.1
forged.signed.test AAAA 2001:db8::1
''' + ''.join(f'many.test MX {n} mx{n}.many.test\nmx{n}.many.test A 192.0.2.{n}\n' for n in range(1, 121))
LISTS = ', '.join(f'reject_rbl_client {name}.test' for name in ('dead', 'noise', 'cut', 'broken'))


@pytest.fixture(scope='module')
def faulty(sut, ports, tmp_path_factory):
    """A server of names of ours for gatepost alone; clients from 127.0.0.2 on are strangers."""
    directory = tmp_path_factory.mktemp('keys')
    signer = Signer('signed.test', directory, forge=('forged.signed.test',))
    anchor = directory / 'anchor.key'
    anchor.write_text(signer.anchor)
    with Dns(('127.0.0.1', ports.take()), FAULTS, signer=signer) as dns:
        services = {
            'unproved': '-o { smtpd_recipient_restrictions = reject_unknown_sender_domain }',
            'signed': f'-o {{ smtpd_recipient_restrictions = reject_unknown_sender_domain }} -o dns_validation=yes -o dns_trust_anchor_file={anchor}',
            'slow': (600, '-o { smtpd_client_restrictions = reject_rbl_client slow.test }'),
            'late': '-o { smtpd_client_restrictions = reject_rbl_client late.test }',
            'plain': '-o { smtpd_client_restrictions = reject_rbl_client good.test=127.0.0.9 }',
            'bad': f'-o {{ smtpd_client_restrictions = {LISTS}, reject_rbl_client good.test }}',
            'allow': '-o { smtpd_client_restrictions = permit_dnswl_client dead.test, reject }',
            'many': '-o { smtpd_recipient_restrictions = check_sender_mx_access inline:{192.0.2.100=REJECT} }',
            'proved': '-o { smtpd_recipient_restrictions = reject_unknown_sender_domain } -o dns_validation=yes'}
        with sut({'dns_servers': f'127.0.0.1@{dns.address[1]}', 'smtpd_peername_lookup': 'no', 'mynetworks': '127.0.0.1',
                  'smtpd_client_connection_count_limit': '0'}, services) as mta:
            mta.dns = dns
            yield mta


def rcpt(mta, name, source='127.0.0.2', sender='a@ok.test', timeout=60):
    with mta.connect(name, source, timeout) as client:
        client.expect(220)
        client.cmd('EHLO client.example', 250)
        client.cmd(f'MAIL FROM:<{sender}>', 250)
        return client.cmd('RCPT TO:<alice@virt.test>')


@pytest.mark.gatepost_only
@pytest.mark.slow
def test_lists_that_do_not_answer_block_nothing(faulty):
    """All are asked together, so that they take the time of one; the one behind them is heard."""
    mark, begun = faulty.log.mark(), time.monotonic()
    reply = rcpt(faulty, 'bad')
    assert reply == '554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using good.test; listed'
    assert time.monotonic() - begun < 30
    for name in ('dead', 'broken'):
        faulty.log.wait_text(f'warning: 2.0.0.127.{name}.test: RBL lookup error: Host or domain name not found. Name service error for '
                             f'name=2.0.0.127.{name}.test type=A: Host not found, try again', mark)


@pytest.mark.gatepost_only
@pytest.mark.slow
@pytest.mark.long
def test_a_list_that_allows_and_does_not_answer_defers(faulty):
    assert rcpt(faulty, 'allow') == '450 4.7.1 <127.0.0.2>: Client host rejected: Service unavailable'


@pytest.mark.gatepost_only
@pytest.mark.slow
@pytest.mark.long
def test_a_late_list_is_heard(faulty):
    assert rcpt(faulty, 'late') == '554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using late.test; late'


@pytest.mark.gatepost_only
def test_many_exchangers(faulty):
    """The hundredth is found, and what one session asks at once is bounded."""
    assert rcpt(faulty, 'many', sender='x@many.test') == '554 5.7.1 <x@many.test>: Sender address rejected: Access denied'


@pytest.mark.gatepost_only
@pytest.mark.skipif(not os.path.exists('/usr/share/dns/root.key'), reason='no dns-root-data')
def test_what_is_not_proved_is_temporary(faulty):
    assert rcpt(faulty, 'proved') == '450 4.1.8 <a@ok.test>: Sender address rejected: Domain not found'


@pytest.mark.gatepost_only
def test_what_is_proved(faulty):
    """With a key of one zone: what is signed with it counts, what is not is no answer; of other zones nothing is asked for."""
    forged = '450 4.1.8 <a@forged.signed.test>: Sender address rejected: Domain not found'
    for service, sender, wanted in (('signed', 'a@signed.test', '250 2.1.5 Ok'), ('signed', 'a@forged.signed.test', forged),
                                    ('signed', 'a@ok.test', '250 2.1.5 Ok'), ('unproved', 'a@forged.signed.test', '250 2.1.5 Ok')):
        assert rcpt(faulty, service, sender=sender) == wanted, (service, sender)
    assert faulty.dns.asked('signed.test', 'DNSKEY') > 0


@pytest.mark.gatepost_only
@pytest.mark.slow
def test_others_are_served_while_hundreds_wait(faulty):
    """500 sessions wait for a list that answers after five seconds; 50 others do not notice."""
    waiting = []
    for n in range(500):
        client = faulty.connect('slow', f'127.0.{1 + n // 250}.{1 + n % 250}', 120)
        waiting.append(client)
        client.expect(220)
        client.cmd('EHLO client.example', 250)
        client.send(b'MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\n')
    for client in waiting:
        client.expect(250)
    times = []

    def be_served(n):
        begun = time.monotonic()
        assert rcpt(faulty, 'plain', f'127.0.9.{n + 1}') == '250 2.1.5 Ok'
        times.append(time.monotonic() - begun)

    threads = [threading.Thread(target=be_served, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 50 and max(times) < 5, times
    replies = {}
    for client in waiting:
        reply = client.expect(None)
        replies[reply[:20]] = replies.get(reply[:20], 0) + 1
        client.close()
    assert set(replies) == {'554 5.7.1 Service un'}, replies
