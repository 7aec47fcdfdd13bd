"""A start in your own transaction: the job exists if, and only if, your rows do.

The tables of Outlast may lie in the file of your application. Here the connection is the standard library's; on
Postgres it is asyncpg's, psycopg's, SQLAlchemy's or Django's.

Prints:

    order 1 committed: charged 100
    order 2 rolled back: no such instance
    orders: [(1, 100)]
"""

import asyncio
import sqlite3
import sys
import tempfile
from contextlib import closing

from outlast import Engine, job
from outlast.errors import NotFound


@job
async def charge(order: int, amount: int) -> str:
    return f"charged {amount}"


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        if engine.database_file is None:
            sys.exit("this example needs a file of SQLite")
        with closing(sqlite3.connect(engine.database_file)) as connection:
            connection.execute("DROP TABLE IF EXISTS orders")
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER)")

            with connection:  # commits at its end
                connection.execute("INSERT INTO orders VALUES (1, 100)")
                first = await engine.start(charge.new(order=1, amount=100), connection=connection)
            print("order 1 committed:", await first.result(timeout=10))

            try:
                with connection:
                    connection.execute("INSERT INTO orders VALUES (2, 200)")
                    second = await engine.start(charge.new(order=2, amount=200), connection=connection)
                    raise ValueError("the card was refused")
            except ValueError:
                pass  # rolled back, and the job with it
            try:
                await second.get()
            except NotFound:
                print("order 2 rolled back: no such instance")

            print("orders:", connection.execute("SELECT * FROM orders").fetchall())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
