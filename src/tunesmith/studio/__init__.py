"""`tunesmith studio`: web pages that read run directories and prepared data sets, follow live runs, and start and stop them.

Where things are:

    access.py      who may speak to the studio (Host, Origin, cookie); wraps the whole application
    readable.py    JSON that anybody may have written -> values of the right type, or `Unreadable` with the reason
    metrics.py     metrics.jsonl followed while it grows; `thin` for curves
    reading.py     `Library`: the runs and data sets there are, cached by inode, size and time
    processes.py   who trains in a run; stop (SIGINT); `Starter`: start `tunesmith` commands as processes
    kept_files.py  scripts, styles and fonts, answered from memory
    asking.py      the JSON document of a `tunesmith` verb, from a process of its own
    reports.py     HTML reports of runs and data sets, each in a sandbox
    training_form.py  the settings of a new run and the command that they make
    shell.py       `Studio` (what pages are given), header, menu, skip link, dark mode; `studio.page`
    theme.py       colours, `curve_options` for ECharts; studio.css
    widgets.py     what several pages show: status, facts, alerts, tables
    app.py         the application and the server
    pages/         one module a page, each with `install(studio)`; listed in `pages/__init__.py`

A page:

    def install(studio: Studio) -> None:
        @studio.page("/rate", title="Rate", section="Rate")
        async def rate() -> None:
            runs = await asyncio.to_thread(studio.library.runs)      # files are read in a thread, never in the event loop
            ui.label(runs[0].name)

    - An active `ui.timer` sends the page as soon as the next thing is awaited: make it when the page is complete, or what is missing comes
      half a second later over the websocket.
    - Add the module to `MODULES` in `pages/__init__.py`; the header shows a section as soon as its page is installed.
    - Parameters of the path are strings of the URL. A run is `studio.library.run(name)`, a data set `studio.library.data_set(name)`; both
      look the name up among those there are and give None for any other. Never make a path from a string of the URL.
    - A parsed file of your own: `studio.library.document(path, "what I make of it", read)` keeps it until the file changes. `read` runs in
      your thread and may raise `Unreadable`, or one of our errors; what a page raises of both is shown in a box on the page.
    - What a file says goes through `readable` first (`text`, `number`, `items`): of the right type, finite, and such that it can be sent.
    - Texts of users go into `ui.label`, `widgets.tag`, `widgets.code`, values of inputs, rows of `ui.table`, where they are text. Never
      into `ui.html`, `ui.markdown`, `ui.add_head_html`, `ui.run_javascript` or the *names* of props, columns or chart options: a name
      that begins with a colon is evaluated as JavaScript by NiceGUI, so names are ours, and what users wrote is a value.
    - Strings given to `.props()` and `.classes()` are parsed: constants only, never a text of a user.
    - There is no Tailwind (its compiler would run in the page). Classes of studio.css begin with `ts-`; Quasar's own are there.
    - Headings by `widgets.heading("…")` (`h2`); the shell makes the one `h1` of the title; controls have labels; what is only an icon has
      `aria-label`. Look at 390 pixels, at dark, and at the page without a mouse.
    - What loads torch is asked of the command line in a process of its own (`asking.ask`, `Starter.start`). The playground
      alone loads models here, in threads, with the first prompt.
    - A page has a line in `SHOTS` (docs/screenshots.py) and `PAGES` (bench/studio.py), and a test in tests/studio/browser, whose `page`
      fixture fails on any error in the page, any dialog and any request to another host; tests/studio/made.py makes hostile runs.
    - No `app.storage`: it writes files into the working directory. What a person chose is in the URL, or in a cookie set by `shell`.
"""
