#!/usr/bin/env bash
# The program that CHROMIUM names, without the pages of its address bar: two for each window, which cost more than a test's own.
# Chromium takes only the last --disable-features, and Playwright has one, so both become one.
arguments=()
for argument in "$@"; do
    case $argument in
    --disable-features=*) argument=$argument,WebUIOmniboxPopup,WebUIOmniboxAimPopup ;;
    esac
    arguments+=("$argument")
done
exec "$CHROMIUM" "${arguments[@]}"
