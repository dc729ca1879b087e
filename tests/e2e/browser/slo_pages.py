"""Use the SLO pages in a real Chromium. Run by tests/e2e/test_slo_pages_browser.py.

    python slo_pages.py SETTINGS.json

Settings: url, user, password, chromium, shots (a directory), axe (a file), task (of a check: dag_id, run_id, task_id).
Prints one JSON object: for each scenario the error, or null. Needs playwright; imports nothing of this project.
"""

import json
import re
import sys
import traceback
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect, sync_playwright

SETTINGS = json.loads(Path(sys.argv[1]).read_text())
URL = SETTINGS["url"]
SHOTS = Path(SETTINGS["shots"])
PAGES = {
    "overview": "overview",
    "slo": "slo?name=page-checkout",
    "slo unknown": "slo?name=page-ranking",
    "checks": "checks",
    "history": "history?kind=freshness&name=features",
    "deployments": "deployments",
    "incidents": "incidents",
    "dag": "dag?dag_id=promote_model",
    "run": "run?dag_id=promote_model&run_id=scheduled__30",
    "missing": "slo?name=absent",
}
SCENARIOS = {}


def scenario(work):
    SCENARIOS[work.__name__] = work
    return work


def login(page: Page) -> None:
    page.goto(f"{URL}/auth/login")
    page.locator("input[name=username]").fill(SETTINGS["user"])
    page.locator("input[name=password]").fill(SETTINGS["password"])
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda url: "/auth/login" not in url)


def frame_of(page: Page):
    return page.frame_locator("iframe[title=SLOs]")


def names(frame) -> list[str]:
    return frame.locator("#slos tbody tr:visible th a").all_inner_texts()


def ours(frame) -> list[str]:
    """Return the names that this test recorded. Other tests share the ledger, and their SLOs may be exhausted too."""
    return [name for name in names(frame) if name.startswith("page-")]


@scenario
def finds_slos_in_the_navigation_sorts_and_filters(page: Page) -> None:
    page.goto(URL)
    page.get_by_role("link", name="SLOs").first.click()
    frame = frame_of(page)
    expect(frame.get_by_role("heading", name="Service level objectives")).to_be_visible()
    assert ours(frame)[:2] == ["page-checkout", "page-search"], names(frame)
    frame.get_by_role("button", name="SLO", exact=True).click()
    ascending = names(frame)
    assert ascending == sorted(ascending, key=str.casefold), ascending
    frame.get_by_role("button", name="SLO", exact=True).click()
    assert names(frame) == ascending[::-1]
    frame.get_by_role("button", name="Budget left").click()
    assert ours(frame)[0] == "page-checkout"
    assert set(ours(frame)[-2:]) == {"page-embedding", "page-ranking"}
    frame.get_by_label("Status").select_option("BURNING")
    assert ours(frame) == ["page-search"], names(frame)
    expect(frame.get_by_role("status")).to_contain_text(f"{len(names(frame))} of ")
    frame.get_by_label("Status").select_option("")
    frame.get_by_role("searchbox", name="Search").fill("pAGE-pREDICT")  # other tests record predictions too
    assert names(frame) == ["page-predictions"]
    frame.get_by_role("searchbox", name="Search").fill("")
    frame.get_by_label("Service").select_option("models")
    assert set(ours(frame)) == {"page-ranking", "page-embedding", "page-predictions"}


@scenario
def opens_an_slo_follows_a_link_to_its_task_instance_and_comes_back(page: Page) -> None:
    task = SETTINGS["task"]
    page.goto(URL)
    page.get_by_role("link", name="SLOs").first.click()
    frame = frame_of(page)
    frame.get_by_role("link", name=task["slo"], exact=True).click()
    expect(frame.get_by_role("heading", name=task["slo"], exact=True)).to_be_visible()
    expect(frame.locator("svg.chart").first).to_be_visible()
    inside = page.url
    frame.get_by_role("link", name=task["task_id"]).first.click()
    page.wait_for_url(lambda url: "/plugin/" not in url)
    path = urlsplit(page.url).path
    assert path.startswith(f"/dags/{task['dag_id']}/runs/"), path
    assert path.endswith(f"/tasks/{task['task_id']}"), path
    expect(page.get_by_text(task["task_id"]).first).to_be_visible()
    page.go_back()
    page.wait_for_url(lambda url: "/plugin/" in url)
    assert page.url == inside
    expect(frame_of(page).get_by_role("heading", name=task["slo"], exact=True)).to_be_visible()


@scenario
def a_dag_a_run_and_a_task_instance_have_a_tab(page: Page) -> None:
    task = SETTINGS["task"]
    for path in (
        f"/dags/{task['dag_id']}",
        f"/dags/{task['dag_id']}/runs/{task['run_id']}",
        f"/dags/{task['dag_id']}/runs/{task['run_id']}/tasks/{task['task_id']}",
    ):
        page.goto(URL + path)
        page.get_by_role("link", name="SLOs").last.click()
        expect(frame_of(page).get_by_role("link", name=task["slo"], exact=True)).to_be_visible()


@scenario
def follows_airflows_dark_mode(page: Page) -> None:
    page.goto(URL)
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.goto(f"{URL}/slo/overview")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    other = page.context.new_page()
    other.goto(f"{URL}/slo/overview")
    other.evaluate("localStorage.setItem('theme', 'light')")  # as Airflow's own switch does
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    other.close()


@scenario
def is_usable_on_a_narrow_screen(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for name, path in PAGES.items():
        page.goto(f"{URL}/slo/{path}")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, f"{name} is {wide} pixels wide"
    page.goto(f"{URL}/slo/overview")
    page.get_by_role("searchbox", name="Search").fill("checkout")
    assert page.locator("#slos tbody tr:visible").count() == 1
    page.locator("#slos a:visible").first.click()
    expect(page.get_by_role("heading", name="page-checkout")).to_be_visible()


@scenario
def the_keyboard_is_enough(page: Page) -> None:
    page.goto(f"{URL}/slo/overview")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.textContent.trim()"))
        if page.evaluate("document.activeElement.textContent") == "page-checkout":
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
            page.keyboard.press("Enter")
            page.wait_for_url("**/slo?name=page-checkout&service=*")
            return
    raise AssertionError(f"the link was not reached: {sorted(seen)}")


@scenario
def works_without_a_script(page: Page) -> None:
    context = page.context.browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    try:
        plain = context.new_page()
        plain.goto(f"{URL}/slo/overview")
        plain.get_by_label("Status").select_option("BURNING")
        plain.get_by_role("button", name="Filter").click()
        plain.wait_for_url("**/overview?*")
        assert plain.locator("#slos tbody tr").count() == 1
    finally:
        context.close()


@scenario
def what_is_an_attack_stays_text(page: Page) -> None:
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto(f"{URL}/slo/overview")
    page.locator("#slos a", has_text="<img").first.click()
    expect(page.locator("h1")).to_contain_text("<img src=x onerror=alert(1)>")
    for path in PAGES.values():
        page.goto(f"{URL}/slo/{path}")
        assert page.locator("img").count() == 0
    assert alerts == []


@scenario
def no_page_has_a_serious_fault_of_accessibility(page: Page) -> None:
    axe = Path(SETTINGS["axe"]).read_text()
    faults = []
    for theme in ("light", "dark"):
        for name, path in PAGES.items():
            page.goto(f"{URL}/slo/overview")
            page.evaluate(f"localStorage.setItem('theme', '{theme}')")
            page.goto(f"{URL}/slo/{path}")
            page.evaluate(axe + "; undefined")
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            faults += [
                f"{name} ({theme}): {one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]}"
                for one in found["violations"]
                if one["impact"] in ("serious", "critical")
            ]
    assert not faults, "\n".join(faults)


@scenario
def shots_of_every_page(page: Page) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        page.goto(f"{URL}/slo/overview")
        page.evaluate(f"localStorage.setItem('theme', '{theme}')")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            for name, path in PAGES.items():
                page.goto(f"{URL}/slo/{path}")
                page.screenshot(path=SHOTS / f"{name.replace(' ', '_')}_{theme}_{width}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{URL}/plugin/slo")
    expect(frame_of(page).get_by_role("heading", name="Service level objectives")).to_be_visible()
    page.screenshot(path=SHOTS / "in_airflow.png")


def main() -> None:
    results = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=SETTINGS["chromium"], args=["--no-sandbox", "--disable-gpu"])
        host = urlsplit(URL).netloc
        first = browser.new_context()
        login(first.new_page())
        state = first.storage_state()
        first.close()
        for name, work in SCENARIOS.items():
            if SETTINGS.get("only") and not re.search(SETTINGS["only"], name):
                continue
            context = browser.new_context(storage_state=state, viewport={"width": 1280, "height": 900})
            context.set_default_timeout(15_000)
            page = context.new_page()
            errors, strangers = [], []
            context.on(
                "console",
                lambda message, errors=errors: (
                    errors.append(f"{message.text} ({message.location.get('url')})") if message.type == "error" else None
                ),
            )
            context.on("weberror", lambda error, errors=errors: errors.append(str(error.error)))
            context.on(
                "request",
                lambda request, strangers=strangers: (
                    strangers.append(request.url) if urlsplit(request.url).netloc not in ("", host) else None
                ),
            )
            try:
                work(page)
                # A missing page is reported in the console; no other message is allowed.
                wrong = [error for error in errors if "status of 404" not in error or "/slo/" not in error]
                assert not wrong, f"console: {wrong}"
                assert not strangers, f"requests to other hosts: {strangers}"
                results[name] = None
            except Exception:
                SHOTS.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=SHOTS / f"failed_{name}.png")
                results[name] = traceback.format_exc()[-3000:] + f"\nat {page.url}; console: {errors}"
            context.close()
        browser.close()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
