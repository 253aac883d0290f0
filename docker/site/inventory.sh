#!/bin/sh
# Reads a Cargo.lock on stdin and prints the crates in it as an HTML table.
set -eu
printf '<!doctype html><html lang="en"><meta charset="utf-8"><title>Crates</title>\n<h1>Crates</h1>\n<table>\n'
awk -F'"' '
  $1 == "name = " { name = $2 }
  $1 == "version = " { version = $2; source = "this workspace" }
  $1 == "source = " { source = $2 }
  /^$/ && name != "" { print_row() }
  END { if (name != "") print_row() }
  function print_row() {
    printf "<tr><td>%s</td><td>%s</td><td>%s</td></tr>\n", name, version, source
    name = ""
  }'
printf '</table></html>\n'
