"""The web pages: a router per page, templates for them, and what they are drawn with.

Everything works without a script: links, forms, and a way on after each of them. With one, pages update by themselves.
"""
