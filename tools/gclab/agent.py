# SPDX-License-Identifier: GPL-2.0-or-later
"""The program of the second host in a lab with two: makes and holds the objects that the first host asks for."""

from .second_host import ADDRESS, KEY, Manager

if __name__ == "__main__":
    Manager(ADDRESS, KEY).get_server().serve_forever()
