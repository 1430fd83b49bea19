"""Commands that Scrapy has in this project besides, or instead of, its own."""
