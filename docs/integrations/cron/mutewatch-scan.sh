#!/bin/sh
# Judge the captures of one day; tell by the exit code, which `mutewatch scan` documents in docs/output.md.
#   usage: mutewatch-scan.sh FOLDER-OF-CAPTURES EVE-FILE [KEY-LOG]
set -u
captures=$1 eve=$2 keylog=${3:-}

mutewatch scan "$captures"/*.pcap* ${keylog:+--keylog "$keylog"} \
    --store "$captures/mutewatch.db" --format eve --output "$eve" --fail-on flagged --require-match
code=$?
case $code in
0) ;;
1) echo "mutewatch: muted clients sent audio-derived data; see $eve" ;;
2) echo "mutewatch: wrong usage or settings" ;;
3) echo "mutewatch: something could not be read, which may hide what is looked for" ;;
4) echo "mutewatch: no telemetry at all: is the right traffic captured?" ;;
*) echo "mutewatch: ended with $code" ;;
esac
exit $code
