#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs on the second host of a lab with two: makes and holds the objects that the first asks for, until it is ended."""

from harness.second_host import ADDRESS, KEY, Manager


def main() -> None:
    Manager(ADDRESS, KEY).get_server().serve_forever()


if __name__ == "__main__":
    main()
