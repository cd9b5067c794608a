"""A report of a batch: one page, or the same tables in the terminal.

Results stream by and are counted in bounded memory (``gathering``); what was counted becomes
sections of tables and charts (``sections``), and those become HTML (``page``) or text (``text``).
"""
