"""Scrapy's commands in this project: ``crawl`` replaces Scrapy's own."""
