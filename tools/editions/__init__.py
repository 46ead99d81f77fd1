"""The book in other forms than a web site: PDF, EPUB, a ZIP of its notebooks."""
