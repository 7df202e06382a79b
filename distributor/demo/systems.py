"""The cast: seven systems in `prod`, two of them again in the test team's `uat`."""

from __future__ import annotations

from distributor.demo.estate import EnvironmentPlan, SystemPlan

PROD, UAT = "prod", "uat"
ABSENT = "warehouse"
"""The system whose consumer is stopped."""
COPIED = "reporting"
"""The system that is copied whole for comparison."""

_ALL = {"products": "products", "prices": "prices", "categories": "categories"}
_SALES = SystemPlan("sales", "postgresql", _ALL)
_PURCHASE = SystemPlan("purchase", "postgresql", {"products": "items", "prices": "prices"})
_CRM = SystemPlan("crm", "postgresql", {"products": "products", "categories": "categories"})
_WAREHOUSE = SystemPlan("warehouse", "postgresql", {"products": "stock_items"})
_REPORTING = SystemPlan("reporting", "postgresql", _ALL)
_POS = SystemPlan("pos", "sqlite", {"products": "articles", "prices": "price_list"})
_BILLING = SystemPlan("billing", "sqlite", {"prices": "prices", "categories": "categories"})

ENVIRONMENTS = (
    EnvironmentPlan(PROD, "auto", (_SALES, _PURCHASE, _CRM, _WAREHOUSE, _REPORTING, _POS, _BILLING)),
    EnvironmentPlan(UAT, "manual", (_CRM, _BILLING)),
)
