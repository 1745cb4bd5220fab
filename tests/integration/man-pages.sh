#!/bin/sh
# The man page and --help name the same options, and the man pages have no errors.
. "$SRCDIR/tests/functions.sh"
man=$SRCDIR/tools/man

"$BUILDDIR/mount.l2fs" --help | sed -n '/^Options of -o/,/^$/s/^  \([a-z0-9_]*\).*/\1/p' | sort >help.names
sed -n '/^\.SH MOUNT OPTIONS/,/^\.SH OTHER/p' "$man/mount.l2fs.8" |
    sed -n '/^\.TP/{n;s/^\.BR \([a-z0-9_]*\).*/\1/p;}' | sort >man.names
[ -s help.names ] || fail "--help lists no options"
diff help.names man.names || fail "mount.l2fs.8 and mount.l2fs --help name different options"

if "$BUILDDIR/mount.l2fs" --help pd >pd.help 2>/dev/null; then
    sed -n 's/^  \([a-z_]*\)=.*/\1/p' pd.help >help.names
    sed -n '/^\.SH PREFILL AND DECODE/,/^\.SH OTHER/{/^\.TP/{n;s/^\.B //p;}}' "$man/mount.l2fs.8" >man.names
    [ -s help.names ] || fail "--help pd lists no options"
    diff help.names man.names || fail "mount.l2fs.8 and mount.l2fs --help pd name different options"
fi

"$BUILDDIR/tools/l2fsctl" -h | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' | sort >help.names
sed -n '/^\.SH COMMANDS/,/^\.SH OPTIONS/p' "$man/l2fsctl.1" |
    sed -n '/^\.TP/{n;s/^\.[A-Z]* \([a-z]*\).*/\1/p;}' | sort >man.names
diff help.names man.names || fail "l2fsctl.1 and l2fsctl -h name different commands"

# The names of events: the second argument of these two.
need python3
cat "$SRCDIR"/fs/*.c | python3 -c '
import re, sys
for call in re.findall(r"\b(?:events_add|file_event_error)\([^,;]+,([^,;]+),", sys.stdin.read()):
    for name in re.findall(r"\"([^\"]+)\"", call):
        print(name)
' | sort -u >event.names
sed -n '/^\.SH EVENTS/,/^\.SH/p' "$man/l2fs.5" |
    sed -n '/^\.TP/{n;s/^\.[A-Z]* //;s/ *" *, *" */ /g;p;}' | tr ' ' '\n' | sort >man.names
[ "$(wc -l <event.names)" -ge 10 ] || fail "no names of events found in fs"
diff event.names man.names || fail "l2fs.5 and fs/*.c name different events"

need man groff
for page in "$man"/*.[1-9]; do
    MANROFFSEQ='' MANWIDTH=100 man --warnings -E UTF-8 -l -Tutf8 "$page" 2>errors >/dev/null
    [ ! -s errors ] || fail "$page: $(cat errors)"
done
