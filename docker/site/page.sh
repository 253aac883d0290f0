#!/bin/sh
# Prints a Markdown file as a plain HTML page: headings as headings, everything else as written.
set -eu
printf '<!doctype html><html lang="en"><meta charset="utf-8"><title>%s</title>\n<pre>\n' "$1"
sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/^#* \(.*\)$/<b>\1<\/b>/' "$1"
printf '</pre></html>\n'
