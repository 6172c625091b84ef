#!/bin/sh
# For the browser tests: Chromium and its driver, where they are missing and apt may install them. Never fails: without
# them those tests are skipped, and say so.
if command -v chromedriver >/dev/null 2>&1 && { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "browser tests: no Chromium with chromedriver, and no right to install them with apt; they will be skipped" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null || \
  echo "browser tests: apt could not install chromium and chromium-driver; they will be skipped" >&2
exit 0
