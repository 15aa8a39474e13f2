"""One drill, told as it goes. Apart, as it brings pyinfra along."""

from backup.drills import run
from backup.drills.course import Order
from backup.drills.report import Outcome, Report
from cli.drill.running import Told, tell
from cli.options import stop
from inventories.inventory import LoadedSite


def carry_out(site: LoadedSite, order: Order, *, yes: bool) -> Report:
    """Ends with the exit code of one that was broken off when it is."""
    try:
        report = run.run(site, order, Told(str(order.data_set), yes=yes))
    except KeyboardInterrupt:
        raise stop("drill", f"{order.data_set}: it was ended", Outcome.ABANDONED.code) from None
    tell(report)
    return report
