"""The zoo's page: static, for any web server or none."""
