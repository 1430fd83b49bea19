"""Settings. Each can be set for one run: ``scrapy crawl naver_section -s NAME=VALUE``."""

from typing import Any

from hanline.text.crawled import headlines_folder

BOT_NAME = "hanline-headlines"
SPIDER_MODULES = ["hanline_crawler.spiders"]
NEWSPIDER_MODULE = "hanline_crawler.spiders"
COMMANDS_MODULE = "hanline_crawler.commands"

# --- where and when ---------------------------------------------------------------------------
# The store, the day's files and headlines.txt.
HEADLINES_FOLDER = str(headlines_folder())
# The ISO 8601 time, with its offset, that the crawl's clock shows. None: the real time.
HEADLINES_CLOCK: str | None = None
# The job folder is Scrapy's JOBDIR. Without one it is jobs/ in HEADLINES_FOLDER, by spider and day.
# Seconds between two lines of progress without a terminal.
PROGRESS_SECONDS = 10.0

# --- cleaning: see hanline_crawler.cleaning.HeadlineCleaning -------------------------------------
CLEAN_ENTITIES = True
CLEAN_TAGS = True
CLEAN_BROKEN_ENCODINGS = "drop_headline"  # drop_headline, drop_character, keep
CLEAN_PARENTHESES = True
CLEAN_SQUARE_BRACKETS = True
CLEAN_ANGLE_BRACKETS = True
CLEAN_QUOTES = "straight"  # straight, curly, keep
CLEAN_ELLIPSES = True
CLEAN_EMOJI = True
CLEAN_CONTROL_CHARACTERS = True
CLEAN_NFC = True
CLEAN_WHITE_SPACE = True
CLEAN_CHARSET = "korean"  # a charset that comes with Hanline; empty: every character is inside
CLEAN_OUTSIDE_CHARSET = "keep"  # drop_headline, drop_character, keep
CLEAN_MAX_LENGTH = 1000  # characters, before cleaning; longer headlines are dropped

# --- repeats ------------------------------------------------------------------------------------
NEAR_REPEATS = True
NEAR_REPEATS_THRESHOLD = 90.0  # from 0 to 100; see hanline_crawler.near_repeats.likeness

# --- sources ------------------------------------------------------------------------------------
NAVER_NEWS_URL = "https://news.naver.com"
# A section with more pages than this has a list that never ends.
SECTION_PAGES_MAX = 2000
# After this number of pages in a row without a new article, the list goes in a circle: stop.
SECTION_STALE_PAGES = 3

NAVER_API_URL = "https://openapi.naver.com"
NAVER_API_QUERIES_FILE: str | None = None  # UTF-8, a query a line
NAVER_API_DISPLAY = 100  # results a call, 1 to 100
NAVER_API_SORT = "date"  # date or sim
NAVER_API_DAILY_CALLS = 25_000

_YONHAP = {
    name: {
        "publisher": "연합뉴스",
        "section": section,
        "url": f"https://www.yna.co.kr/rss/{name}.xml",
    }
    for name, section in {
        "politics": "politics",
        "economy": "economy",
        "industry": "economy",
        "society": "society",
        "local": "society",
        "culture": "culture",
        "international": "world",
        "northkorea": "politics",
        "sports": "sports",
    }.items()
}
_DONGA = {
    name: {"publisher": "동아일보", "section": section, "url": f"https://rss.donga.com/{name}.xml"}
    for name, section in {
        "politics": "politics",
        "economy": "economy",
        "national": "society",
        "culture": "culture",
        "international": "world",
        "science": "it",
    }.items()
}
_HANKYUNG = {
    name: {
        "publisher": "한국경제",
        "section": section,
        "url": f"https://www.hankyung.com/feed/{name}",
    }
    for name, section in {
        "politics": "politics",
        "economy": "economy",
        "finance": "economy",
        "society": "society",
        "life": "culture",
        "international": "world",
        "it": "it",
    }.items()
}
_KHAN = {
    name: {
        "publisher": "경향신문",
        "section": section,
        "url": f"https://www.khan.co.kr/rss/rssdata/{name}.xml",
    }
    for name, section in {
        "politic_news": "politics",
        "economy_news": "economy",
        "society_news": "society",
        "culture_news": "culture",
        "kh_world": "world",
        "science_news": "it",
    }.items()
}
RSS_FEEDS: list[dict[str, Any]] = [
    feed for feeds in (_YONHAP, _DONGA, _HANKYUNG, _KHAN) for feed in feeds.values()
]

# --- manners ------------------------------------------------------------------------------------
# Whoever has a site's permission switches this off by name: -s ROBOTSTXT_OBEY=False
ROBOTSTXT_OBEY = True
# A mail address or a page that says who crawls, for the User-Agent.
CONTACT = ""
USER_AGENT = "hanline-headlines/0.1"
DEFAULT_REQUEST_HEADERS = {
    "Accept": "text/html,application/xhtml+xml,application/json,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "ko",
}
CONCURRENT_REQUESTS = 2
CONCURRENT_REQUESTS_PER_DOMAIN = 2
DOWNLOAD_DELAY = 0.5
AUTOTHROTTLE_ENABLED = True
AUTOTHROTTLE_START_DELAY = 1.0
AUTOTHROTTLE_MAX_DELAY = 60.0
AUTOTHROTTLE_TARGET_CONCURRENCY = 1.0
RETRY_TIMES = 4
RETRY_BACKOFF = 2.0  # seconds before the first retry; doubled before each after it
RETRY_BACKOFF_MAX = 120.0
RETRY_AFTER_MAX = 900.0  # a site that asks for a longer pause is asked no more in this run
DOWNLOAD_TIMEOUT = 30
DOWNLOAD_MAXSIZE = 8 * 1024 * 1024
DOWNLOAD_WARNSIZE = 0
DOWNLOAD_VERIFY_CERTIFICATES = True
REDIRECT_MAX_TIMES = 5
REDIRECT_HOSTS: list[str] = []  # apart from the spider's own
METAREFRESH_ENABLED = False
COOKIES_ENABLED = False

# --- parts --------------------------------------------------------------------------------------
DOWNLOADER_MIDDLEWARES = {
    "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,
    "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
    "scrapy.downloadermiddlewares.retry.RetryMiddleware": None,
    "scrapy.downloadermiddlewares.redirect.RedirectMiddleware": None,
    "hanline_crawler.middlewares.ObeyRobots": 100,
    "hanline_crawler.middlewares.PoliteRetries": 550,
    "hanline_crawler.middlewares.RedirectsWithinHosts": 600,
    "hanline_crawler.middlewares.ApiQuota": 800,
}
ITEM_PIPELINES = {
    "hanline_crawler.pipelines.CleanHeadlinesPipeline": 100,
    "hanline_crawler.pipelines.StorePagePipeline": 200,
}
EXTENSIONS = {
    "hanline_crawler.extensions.ProgressOfRun": 10,
    "hanline_crawler.extensions.EndOfRun": 20,
}
# The spiders ask for each page once; what has been read is in the job folder.
DUPEFILTER_CLASS = "scrapy.dupefilters.BaseDupeFilter"
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False
STATS_DUMP = False
LOGSTATS_INTERVAL = 0
LOG_LEVEL = "INFO"
LOG_VERSIONS: list[str] = []
