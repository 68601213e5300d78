# SPDX-License-Identifier: MIT
"""Python side of Qorus-IA: layouts and quantisers shared by the converter and the vector generator."""
