"""The paper's table on prompts never trained on: what each way of finding negative prompts does to the pictures.

`approaches` says which negatives each way gives, `outcome` has the pictures made and judged, `intervals` says how
sure one can be, `report` shows it.
"""
